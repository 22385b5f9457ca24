"""The nouns of mlppa: what flows through the pipeline.

Rules that every stage keeps:

* The only clock is the integer sample index, counted from the header's
  ``tstart_mjd``. Dates are made once, when a message is written.
* A gap is a jump: ``block.start`` is past the previous ``block.stop``.
* Whoever receives an array owns it, and a stage never writes to an array that
  it has passed on.
* Units stand in names: MHz, seconds, MJD (UTC); DMs are in pc cm^-3.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

type Float32Array = NDArray[np.float32]
type Int8Array = NDArray[np.int8]
type BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterbankHeader:
    """What is known of a stream before its first sample.

    Parameters
    ----------
    nchans
        Number of frequency channels.
    fch1_mhz
        Centre frequency of channel 0.
    foff_mhz
        Channel step; negative when channel 0 is the highest.
    tsamp_s
        Sampling time.
    tstart_mjd
        Date of sample 0 (UTC).
    nbits
        Bits of a sample as recorded: 1, 2, 4, 8, 16 or 32.
    source_name, telescope, beam
        For people; nothing is computed from them.

    Raises
    ------
    InputError
        Where no search could make sense of the values.
    """

    nchans: int
    fch1_mhz: float
    foff_mhz: float
    tsamp_s: float
    tstart_mjd: float
    nbits: int = 32
    source_name: str = ""
    telescope: str = ""
    beam: int = 0

    def __post_init__(self) -> None:
        numbers = (self.fch1_mhz, self.foff_mhz, self.tsamp_s, self.tstart_mjd)
        checks = {
            "a number is not finite": all(np.isfinite(numbers)),
            f"nchans = {self.nchans}": 1 < self.nchans <= 65536,
            f"tsamp = {self.tsamp_s:g} s": 1e-9 <= self.tsamp_s <= 10,
            f"foff = {self.foff_mhz:g} MHz": self.foff_mhz != 0,
            f"the band crosses 0 MHz (fch1 {self.fch1_mhz:g}, foff {self.foff_mhz:g})": min(
                self.fch1_mhz, self.fch1_mhz + (self.nchans - 1) * self.foff_mhz
            )
            > 0,
        }
        for cause, fine in checks.items():
            if not fine:
                raise InputError("header", cause, "correct the header or make the file again")

    @property
    def freqs_mhz(self) -> NDArray[np.float64]:
        """Centre frequency of each channel, in the order of the data, shape (nchans,)."""
        return self.fch1_mhz + self.foff_mhz * np.arange(self.nchans, dtype=np.float64)

    @property
    def f_hi_mhz(self) -> float:
        """Centre frequency of the highest channel: arrival times refer to it."""
        return float(self.freqs_mhz.max())

    @property
    def f_lo_mhz(self) -> float:
        """Centre frequency of the lowest channel."""
        return float(self.freqs_mhz.min())

    def mjd(self, time_s: float) -> float:
        """Date (UTC) of a time in seconds since sample 0."""
        return self.tstart_mjd + time_s / 86400.0


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive spectra of one beam, as read or received.

    ``spectra`` has shape (nsamples, nchans), in the channel order of the header
    and the number type of the input; NaN in it means that nothing was recorded
    in that channel. ``valid``, shape (nsamples,), is False where the source knows
    that a whole spectrum carries no signal (padding); None means all are good.
    """

    start: int
    spectra: NDArray[np.generic]
    valid: BoolArray | None = None

    @property
    def stop(self) -> int:
        """Index of the first sample after the block."""
        return self.start + len(self.spectra)


@dataclass(frozen=True, slots=True, eq=False)
class Gulp:
    """A fixed number of spectra that starts on a multiple of that number.

    However the stream was cut into blocks, its gulps are the same. ``spectra``
    has shape (nsamples, nchans); ``valid``, shape (nsamples,), is False where no
    sample came in. What is not valid is zero and means nothing.
    """

    start: int
    spectra: NDArray[np.generic]
    valid: BoolArray

    @property
    def stop(self) -> int:
        """Index of the first sample after the gulp."""
        return self.start + len(self.spectra)


@dataclass(frozen=True, slots=True, eq=False)
class CleanGulp:
    """A gulp ready for dedispersion.

    ``rows`` is int8 of shape (nchans, nsamples), in the channel order of the
    header: zero mean, a standard deviation of `clean.SIGMA` counts, and 0 where
    there is no signal. ``good``, shape (nchans,), is False for masked channels.
    ``missing`` counts samples that never came, ``masked`` samples that came and
    are not used; the cells of masked channels are told by ``good`` alone.
    """

    start: int
    rows: Int8Array
    good: BoolArray
    missing: int = 0
    masked: int = 0

    @property
    def stop(self) -> int:
        """Index of the first sample after the gulp."""
        return self.start + self.rows.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A pulse proposed by the search, measured exactly, not yet classified.

    Parameters
    ----------
    sample
        Arrival of the middle of the boxcar at the centre of the highest channel,
        in (fractional) samples since sample 0.
    dm, dm_err
        In pc cm^-3.
    width_samples
        Length of the best boxcar.
    snr
        Matched-filter signal to noise over that boxcar.
    snr_zero_dm
        The best S/N of the undispersed band sum around the same time: broad-band
        interference is at least as strong there.
    octave
        Time resolution of its image: pixels of ``2**octave`` samples.
    """

    sample: float
    dm: float
    dm_err: float
    width_samples: int
    snr: float
    snr_zero_dm: float
    octave: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What was looked at: samples [start, stop) of one beam.

    ``searched + masked + missing + shed == stop - start``, to the sample.
    ``decided_to`` is a promise: everything that arrived (at the top of the band)
    before that sample has been decided and sent. ``masked_channels`` of the
    band's channels were left out. ``storm`` says that there were more raw peaks
    than the search keeps, so that weak ones may be lost.
    """

    start: int
    stop: int
    searched: int
    masked: int
    missing: int
    shed: int = 0
    masked_channels: int = 0
    candidates: int = 0
    storm: bool = False
    decided_to: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The watchdog's figures of one batch: dT and the sky seconds it stands for."""

    dt_s: float
    budget_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A classified candidate: a pulse, or interference with the reason why.

    ``image`` is the DM-time image that the network saw, shape (RES, RES), for
    plots; it is not part of any message.
    """

    candidate: Candidate
    probability: float
    label: str
    reason: str | None
    image: Float32Array
    injected: bool = False
