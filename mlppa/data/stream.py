"""What a stream is made of: its header, its samples, and how they are cut."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

#: The last day of the year 9999: no date is later.
LAST_MJD = 2973483

#: No telescope records in radio outside of this.
LOWEST_MHZ, HIGHEST_MHZ = 1e-3, 1e7

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
        Date of sample 0 (UTC), from 0 (which stands for an unknown one) to the year 9999.
    nbits
        Bits of a sample as recorded: 1, 2, 4, 8, 16 or 32.
    source_name, telescope, beam
        For people; nothing is computed from them.
    ra_deg, dec_deg
        Where the beam points (J2000); None where that is not known.

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
    ra_deg: float | None = None
    dec_deg: float | None = None

    def __post_init__(self) -> None:
        numbers = {
            "fch1": self.fch1_mhz,
            "foff": self.foff_mhz,
            "tsamp": self.tsamp_s,
            "tstart": self.tstart_mjd,
        }
        low, high = sorted((self.fch1_mhz, self.fch1_mhz + (self.nchans - 1) * self.foff_mhz))
        checks = {
            **{f"{name} = {x} is not finite": bool(np.isfinite(x)) for name, x in numbers.items()},
            f"nchans = {self.nchans}": 1 < self.nchans <= 65536,
            f"tsamp = {self.tsamp_s:g} s": 1e-9 <= self.tsamp_s <= 10,
            f"tstart = {self.tstart_mjd:g} (MJD)": 0 <= self.tstart_mjd <= LAST_MJD,
            f"foff = {self.foff_mhz:g} MHz": self.foff_mhz != 0,
            f"the band crosses 0 MHz (fch1 {self.fch1_mhz:g}, foff {self.foff_mhz:g})": low > 0,
            f"a band from {low:g} to {high:g} MHz": low >= LOWEST_MHZ and high <= HIGHEST_MHZ,
            f"foff = {self.foff_mhz:g} MHz at {high:g} MHz": abs(self.foff_mhz) > 1e-12 * high,
            f"ra = {self.ra_deg} degrees": self.ra_deg is None or 0 <= self.ra_deg <= 360,
            f"dec = {self.dec_deg} degrees": self.dec_deg is None or -90 <= self.dec_deg <= 90,
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
    ``received_s`` is the `time.monotonic` at which a live block was complete. A live block
    without any samples says that nothing has come for a while.
    """

    start: int
    spectra: NDArray[np.generic]
    valid: BoolArray | None = None
    received_s: float | None = None

    @property
    def stop(self) -> int:
        """Index of the first sample after the block."""
        return self.start + len(self.spectra)


@dataclass(frozen=True, slots=True)
class Shed:
    """What was given up to keep pace: ``nsamples`` that came, from sample ``start`` on."""

    start: int
    nsamples: int


@dataclass(frozen=True, slots=True, eq=False)
class Gulp:
    """A fixed number of spectra that starts on a multiple of that number.

    However the stream was cut into blocks, its gulps are the same. ``spectra``
    has shape (nsamples, nchans); ``valid``, shape (nsamples,), is False where no
    usable sample came in: its spectra mean nothing. The stream stands for samples
    [first, last) of the gulp (all of it except where it begins or ends), and
    ``missing`` of them never came. Nothing came for a while after a ``quiet`` one. ``shed``
    tells what was given up in front of it.
    """

    start: int
    spectra: NDArray[np.generic]
    valid: BoolArray
    first: int
    last: int
    missing: int = 0
    quiet: bool = False
    shed: Shed | None = None

    @property
    def stop(self) -> int:
        """Index of the first sample after the gulp."""
        return self.start + len(self.spectra)

    def after(self, dropped: Sequence["Gulp"]) -> "Gulp":
        """Give the gulp, but for gulps in front of it that are given up."""
        before = [self, *dropped]
        came = sum(one.last - one.first - one.missing for one in dropped)
        known = [one.shed for one in before if one.shed is not None]
        start = min([dropped[0].first, *(one.start for one in known)])
        return replace(self, shed=Shed(start, came + sum(one.nsamples for one in known)))


@dataclass(frozen=True, slots=True, eq=False)
class CleanGulp:
    """A gulp ready for dedispersion.

    Parameters
    ----------
    start
        Index of its first sample, a multiple of its length.
    window
        int8 of shape (nchans, past + nsamples), in the channel order of the header: the
        samples, with zero mean, a standard deviation of `clean.SIGMA` counts, and 0 where
        there is no signal. In front of the gulp's own samples is as much of what came before
        as the search needs.
    good
        False for masked channels, shape (nchans,).
    valid
        False for samples that are missing or masked, shape (nsamples,).
    first, last
        The part of the gulp that the stream stands for is [first, last): less than
        all of it where the stream begins or ends.
    missing
        How many samples of [first, last) never came; the others that are not valid
        are masked.
    quiet, shed
        As in `Gulp`.
    """

    start: int
    window: Int8Array
    good: BoolArray
    valid: BoolArray
    first: int
    last: int
    missing: int = 0
    quiet: bool = False
    shed: Shed | None = None

    @property
    def stop(self) -> int:
        """Index of the first sample after the gulp."""
        return self.start + len(self.valid)

    @property
    def is_beyond(self) -> bool:
        """Whether it lies beyond what came: the stream stands for no sample of it."""
        return self.first == self.last

    @property
    def samples(self) -> Int8Array:
        """Its own samples at full time resolution, shape (nchans, nsamples)."""
        return self.window[:, -len(self.valid) :]

    def part(self, channels: slice) -> "CleanGulp":
        """Give some of its channels."""
        return replace(self, window=self.window[channels], good=self.good[channels])


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The recent past of a stream at full time resolution.

    Its gulps have no past in front of them. What is not there reads as no
    signal.
    """

    gulps: tuple[CleanGulp, ...] = ()

    def extend(self, gulp: CleanGulp, nsamples: int) -> "History":
        """Give the history with one gulp more and without what ended ``nsamples`` before it."""
        oldest = gulp.start - nsamples
        newest = replace(gulp, window=gulp.samples)
        return History((*(g for g in self.gulps if g.stop > oldest), newest))

    def part(self, channels: slice) -> "History":
        """Give some of its channels."""
        return History(tuple(gulp.part(channels) for gulp in self.gulps))

    def between(self, start: int, stop: int) -> Iterator[CleanGulp]:
        """Give the gulps that have some of the samples [start, stop)."""
        return (gulp for gulp in self.gulps if gulp.start < stop and gulp.stop > start)

    def good_throughout(self, start: int, stop: int) -> BoolArray | None:
        """Give the channels that carry signal in every sample of [start, stop), (nchans,).

        None where a sample has no signal, or other channels than another sample.
        """
        good: BoolArray | None = None
        reached = start
        for gulp in self.gulps:
            if gulp.start <= reached < min(gulp.stop, stop):
                valid = gulp.valid[reached - gulp.start : stop - gulp.start]
                if good is None:
                    good = gulp.good
                if not valid.all() or (good is not gulp.good and (good != gulp.good).any()):
                    return None
                reached = gulp.stop
        return good if reached >= stop else None
