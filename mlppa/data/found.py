"""What is found in a stream, and what becomes of it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .stream import Float32Array, History

type JudgedBy = Literal["data", "image", "list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A candidate as a list of another search has it.

    Parameters
    ----------
    dm
        In pc cm^-3, by our dispersion constant.
    width_ms, width_samples
        Length of the boxcar; one of them, or none, is known.
    snr
        None where the list does not know.
    mjd
        Arrival at the centre of the highest channel (UTC); or
    time_s, sample
        seconds, or samples, since sample 0 of the data.
    f_lo_mhz, f_hi_mhz
        The part of the band it shines in.
    beam, file, plot
        Names of the beam, of the data and of the picture, as the list has them.
    path, line
        The list, and the number of the line in it, from 1.
    """

    dm: float
    width_ms: float | None = None
    width_samples: int | None = None
    snr: float | None = None
    mjd: float | None = None
    time_s: float | None = None
    sample: int | None = None
    f_lo_mhz: float | None = None
    f_hi_mhz: float | None = None
    beam: str | None = None
    file: str | None = None
    plot: str | None = None
    path: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A pulse proposed by a search, measured exactly, not yet classified.

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
    channels
        The part of the band that it was measured in: from the first of these channels up
        to the second, which is no part of it. None is all of the band.
    listed
        What lists of other searches have of it: it may be none, or several times the same.
    searched
        Whether our own search proposed it.
    partial
        Whether a part of its sweep lies outside of the data.
    """

    sample: float
    dm: float
    dm_err: float
    width_samples: int
    snr: float
    snr_zero_dm: float
    octave: int
    channels: tuple[int, int] | None = None
    listed: tuple[Listed, ...] = ()
    searched: bool = True
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """What the sky has to say about a candidate; None where it says nothing.

    Parameters
    ----------
    known_source
        Name of the source that it may come from.
    dm_galactic
        The most that the Galaxy contributes towards the pointing, in pc cm^-3.
    dm_excess
        DM beyond that; below 0 inside of the Galaxy.
    """

    known_source: str | None = None
    dm_galactic: float | None = None
    dm_excess: float | None = None


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


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """One gulp's worth of searched sky, and the candidates that became final with it.

    ``history`` still holds the data of every one of these candidates.
    """

    coverage: Coverage
    candidates: tuple[Candidate, ...]
    history: History


@dataclass(frozen=True, slots=True, eq=False)
class ImageBatch:
    """DM-time images of the candidates: float32 (n, RES, RES), in units of noise.

    ``features``, float32 (n, len(images.FEATURES)), says what the shape alone
    cannot show.
    """

    searched: Searched
    images: Float32Array
    features: Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """An image batch with its probabilities, float32 (n,), and the time it took."""

    batch: ImageBatch
    probabilities: Float32Array
    budget: Budget


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What a person looks at to believe a detection; intensities in units of noise.

    ``waterfall`` (nsub, ntime) is dedispersed at the detection's DM, ``profile``
    (ntime,) its band sum, ``zero_dm`` (ntime,) the band sum without dispersion,
    ``image`` (RES, RES) the DM-time image; NaN where there are no data. Times are in
    ms after the arrival; ``freqs_mhz`` are sub-band centres.
    """

    waterfall: Float32Array
    profile: Float32Array
    zero_dm: Float32Array
    time_ms: NDArray[np.float64]
    freqs_mhz: NDArray[np.float64]
    image: Float32Array
    image_time_ms: NDArray[np.float64]
    image_dm: NDArray[np.float64]
    dm: float
    width_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class Panels:
    """What there is to see of a candidate.

    Parameters
    ----------
    spectrum
        Shape (nfreqs, ntimes), dedispersed; each row stands for ``freqs_mhz``, each column
        for ``spectrum_s``.
    plane
        Shape (ndms, nplane_times), for ``dms`` and ``plane_s``.
    spectrum_s, plane_s
        Seconds after the candidate's arrival at the top of the band.
    """

    spectrum: Float32Array
    freqs_mhz: NDArray[np.float64]
    spectrum_s: NDArray[np.float64]
    plane: Float32Array
    dms: NDArray[np.float64]
    plane_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detection:
    """A classified candidate: label "pulse", or "rfi" with the reason why.

    ``picture`` is for plots only and None where no plot was asked for. ``judged_by`` says
    what the verdict rests on: the "data", an "image" that came with a list, or the "list";
    ``image`` is what the network saw, shape (RES, RES), and ``panels`` what other
    classifiers want to see, where that was asked for. ``again`` counts those that were
    called the same before: a name is given once.
    """

    candidate: Candidate
    probability: float
    label: str
    reason: str | None = None
    injected: bool = False
    picture: Picture | None = None
    judged_by: JudgedBy = "data"
    image: Float32Array | None = None
    panels: Panels | None = None
    again: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Injection:
    """A synthetic pulse that was put into a live stream, and what became of it.

    Parameters
    ----------
    sample
        Its arrival, as a candidate's.
    dm, width_ms, snr
        What was put in; the width is the pulse's own.
    boxcar_samples
        The boxcar that its S/N is of.
    found
        What it was found as; None where it was missed.
    reason
        Why it was missed: the reason why its candidate was rejected, that there was none, or
        that its time was not searched.
    """

    sample: float
    dm: float
    width_ms: float
    snr: float
    boxcar_samples: int
    found: Detection | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """All there is to say about one stretch of sky: what was looked at, what was found.

    ``rung`` is the step of the watchdog's ladder that it was judged on; ``injections`` are
    those whose fate is known by now.
    """

    coverage: Coverage
    budget: Budget
    detections: tuple[Detection, ...]
    rung: int = 0
    injections: tuple[Injection, ...] = ()
