"""Labelled images from skies, cut by the same code as live ones."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ..classify.table import COLUMNS, beside
from ..clean import clean
from ..config import Plan
from ..data import BoolArray, Candidate, FilterbankHeader, Float32Array, ImageBatch
from ..dedisperse import Kernel
from ..dispersion import channel_shape, dm_per_sample
from ..gulps import gulps
from ..images import FEATURES, cut_images
from ..search import search
from ..simulate import Interference, Kind, Pulse, PulseShape, band_share, claim, shape_pulse
from ..sources import Source
from .skies import Draw, Drawn, draw_sky

#: Images without a pulse that are kept of one sky: a storm must not fill the set.
MOST_NEGATIVES = 48

#: Delays of a pulse differ by at least this part of what they do in all of the band.
LEAST_SPREAD = 0.1

#: Candidates from here on count: the default threshold of a live search.
LIVE_SNR = 6.5

#: Images that a network judges at a time.
PART = 1024

#: Interference that is always there, and so explains no candidate.
LASTING = ("hum", "dead")

#: What an image may show; the last one is what no interference explains.
CLASSES = (
    *("pulse", *(kind for kind in get_args(Kind.__value__) if kind not in LASTING)),
    "noise",
)

#: What is known of an image beside its pixels and its features: whether it is a pulse; the
#: sky it comes from, for sets are split by sky, never inside one; its place in `CLASSES`;
#: the candidate's DM, arrival, sweep in samples and width; the channels at the edges of the
#: part of the band that it was measured in, and its share of the logarithm of frequency; how
#: many other candidates are near in time, and the S/N of the strongest of them; and the part of
#: the band that a pulse shines in (NaN for others).
FACTS = np.dtype(
    [
        ("label", np.bool_),
        ("sky", np.int32),
        ("kind", np.uint8),
        ("dm", np.float32),
        ("sample", np.float64),
        ("sweep", np.float32),
        ("width_samples", np.int32),
        ("width_ms", np.float32),
        ("f_lo_mhz", np.float32),
        ("f_hi_mhz", np.float32),
        ("part", np.float32),
        ("beside", np.int32),
        ("rival_snr", np.float32),
        ("band", np.float32),
    ]
)

#: What came of a sky: its length, the pulses put in and those found, and all other candidates
#: of `LIVE_SNR` and more, of which not every one is kept.
TALLY = np.dtype(
    [
        ("sky", np.int32),
        ("hours", np.float64),
        ("pulses", np.int32),
        ("found", np.int32),
        ("others", np.int32),
    ]
)

type Facts = NDArray[np.void]


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Labelled images.

    Parameters
    ----------
    images
        In units of noise, shape (n, res, res), 16- or 32-bit floats.
    features
        As in `ImageBatch`, shape (n, number of features).
    facts
        `FACTS` of each, shape (n,).
    tallies
        `TALLY` of each sky that they are of, shape (number of skies,).
    """

    images: NDArray[np.floating]
    features: Float32Array
    facts: Facts
    tallies: Facts

    @property
    def labels(self) -> BoolArray:
        """True where an image shows a pulse."""
        return np.asarray(self.facts["label"])

    @property
    def skies(self) -> NDArray[np.int32]:
        """Which sky each comes from."""
        return np.asarray(self.facts["sky"])

    @property
    def table(self) -> Float32Array:
        """What a list of candidates would tell of each, shape (n, len(table.COLUMNS))."""
        columns = [self.snrs if name == "snr" else self.facts[name] for name in COLUMNS]
        return np.stack(columns, axis=1).astype(np.float32)

    @property
    def snrs(self) -> Float32Array:
        """S/N of each candidate."""
        return self.features[:, FEATURES.index("snr")]

    def take(self, which: NDArray[np.generic]) -> "Examples":
        """Give some of them, by a mask or by indices."""
        return Examples(self.images[which], self.features[which], self.facts[which], self.tallies)


def in_parts(examples: Examples) -> Iterator[Examples]:
    """Give examples some at a time: as 32-bit floats all of them would take too much memory."""
    count = len(examples.facts)
    for first in range(0, count, PART):
        yield examples.take(np.arange(first, min(first + PART, count)))


def join(parts: Iterable[Examples]) -> Examples:
    """Put sets of examples together."""
    held = list(parts)
    return Examples(
        np.concatenate([part.images for part in held]),
        np.concatenate([part.features for part in held]),
        np.concatenate([part.facts for part in held]),
        np.concatenate([part.tallies for part in held]),
    )


def random_examples(at: Draw, kernel: Kernel) -> Examples:
    """Draw a telescope and a sky, search it and label what comes out.

    Parameters
    ----------
    at
        Which draw; the same one gives the same examples.
    kernel
        What does the dedispersion.
    """
    return sky_examples(draw_sky(at), kernel, at.number)


def sky_examples(sky: Drawn, kernel: Kernel, number: int) -> Examples:
    """Search a sky and label what comes out.

    A candidate is a pulse if it is the strongest one at the place of a pulse, each
    pulse having one at most. What else lies near a pulse is neither, and left out; so is
    what is far brighter than the pulse at its place.
    """
    pieces = list(live_images(sky.source, sky.plan, kernel))
    candidates = [c for piece in pieces for c in piece.searched.candidates]
    matched = match(candidates, sky.pulses, sky.plan)
    pairs = list(zip(candidates, matched.pulses, strict=True))
    doubtful = np.array([_overshone(*pair, sky) for pair in pairs], np.bool_)
    labels = matched.labels & ~doubtful
    others = matched.sure & ~labels & ~doubtful
    live = np.array([c.snr >= LIVE_SNR for c in candidates], np.bool_)
    hours = pieces[-1].searched.coverage.stop * sky.plan.header.tsamp_s / 3600
    every = Examples(
        np.concatenate([piece.images for piece in pieces]).astype(np.float16),
        np.concatenate([piece.features for piece in pieces]),
        sky_facts(candidates, matched, sky, number),
        np.array([(number, hours, len(sky.pulses), labels.sum(), (others & live).sum())], TALLY),
    )
    rng = np.random.default_rng((number, 4))
    negatives = rng.permutation(np.flatnonzero(others))[:MOST_NEGATIVES]
    return every.take(np.sort(np.concatenate([np.flatnonzero(labels), negatives])))


def live_images(source: Source, plan: Plan, kernel: Kernel) -> Iterator[ImageBatch]:
    """Take a source through the stages of the pipeline, as far as its images."""
    cleaned = clean(gulps(source.blocks(), plan.gulp), plan.room, plan.baseline)
    return cut_images(search(cleaned, plan.search, kernel), plan.search)


def _overshone(candidate: Candidate, pulse: Pulse | None, sky: Drawn) -> bool:
    """Whether a candidate is so much brighter than its pulse that it is something else's.

    The parts of a burst that lie in one boxcar shine together; and in a part of the band they
    shine the brighter the more of them is in it.
    """
    if pulse is None:
        return False
    header = sky.plan.header
    channels = slice(*(candidate.channels or (None,)))
    width_s = candidate.width_samples * header.tsamp_s + 1e-3 * pulse.width_ms
    together = sum(
        one.snr * _gain(shape_pulse(one, header).profile.sum(axis=1), channels)
        for one in sky.pulses
        if one.dm == pulse.dm and abs(one.time_s - pulse.time_s) <= width_s
    )
    return candidate.snr > 1.3 * together + 4


def _gain(flux: Float32Array, channels: slice) -> float:
    """Give the S/N of a pulse in a part of the band, over that in all of it.

    Parameters
    ----------
    flux
        Of each channel of the band, shape (nchans,).
    channels
        The part.
    """
    inside = flux[channels]
    return float(inside.sum() / flux.sum() * np.sqrt(len(flux) / len(inside)))


class Matched(NamedTuple):
    """What the candidates of a sky are.

    Parameters
    ----------
    pulses
        The pulse that each is, or None.
    sure
        Whether it is certain what each is, shape (n,).
    """

    pulses: list[Pulse | None]
    sure: BoolArray

    @property
    def labels(self) -> BoolArray:
        """Whether each is a pulse, shape (n,)."""
        return np.array([pulse is not None for pulse in self.pulses], np.bool_)


def match(candidates: Sequence[Candidate], pulses: tuple[Pulse, ...], plan: Plan) -> Matched:
    """Match candidates to pulses, one to one."""
    tsamp_s = plan.header.tsamp_s
    edges = [_channels(c, plan.header) for c in candidates]
    found = [
        _Found(c.sample * tsamp_s, c.dm, c.snr, float(e.min()), float(e.max()))
        for c, e in zip(candidates, edges, strict=True)
    ]
    claims = claim(pulses, found, plan.header)
    near = _near(candidates, pulses, plan)
    owners: list[Pulse | None] = [None] * len(found)
    for pulse, number in zip(pulses, claims, strict=True):
        if number is not None:
            owners[number] = pulse
    matched = Matched(owners, ~near)
    return matched._replace(sure=matched.labels | ~near)


def _near(candidates: Sequence[Candidate], pulses: tuple[Pulse, ...], plan: Plan) -> BoolArray:
    """Say which candidates may be a part or a wing of some pulse, shape (n,).

    Wings reach the farther the brighter the pulse is, and the less its delay differs within
    the part of the band that it shines in; and what several pulses make together lies between
    them. A candidate of a part of the band is looked at as that part shows it.
    """
    shapes = [shape_pulse(pulse, plan.header) for pulse in pulses]
    every = (0, plan.header.nchans)
    where = np.array([c.channels or every for c in candidates], np.int64).reshape(-1, 2)
    near = np.zeros(len(candidates), np.bool_)
    for low, high in np.unique(where, axis=0).tolist():
        here = np.flatnonzero((where == (low, high)).all(axis=1))
        seen = [candidates[number] for number in here.tolist()]
        near[here] = _near_in(slice(low, high), seen, shapes, plan)
    return near


def _near_in(
    channels: slice, candidates: Sequence[Candidate], shapes: Sequence[PulseShape], plan: Plan
) -> BoolArray:
    search, tsamp_s = plan.search, plan.header.tsamp_s
    delays = channel_shape(plan.header.freqs_mhz)[channels]
    mean, lever = float(delays.mean()), float(np.ptp(delays))
    sweeps = np.array([c.dm for c in candidates]) / search.unit_dm
    times = np.array([c.sample for c in candidates]) + mean * sweeps
    near = np.zeros(len(candidates), np.bool_)
    for shape in shapes:
        flux, pulse, width = shape.profile[channels].sum(axis=1), shape.pulse, shape.boxcar_samples
        if not flux.any():
            continue
        sweep = pulse.dm / search.unit_dm
        off_sweep = lever * np.abs(sweeps - sweep)
        snr = pulse.snr * _gain(shape.profile.sum(axis=1), channels)
        # smeared over so much, the longest boxcar still has the threshold
        faintest = snr * np.sqrt(width * max(width, search.max_width)) / search.threshold
        reach = max(24 * width + 48, 1.5 * width * snr / search.threshold, faintest)
        reach /= max(_spread(delays, flux) / delays.std(), LEAST_SPREAD)
        off_time = np.abs(times - pulse.time_s / tsamp_s - mean * sweep)
        near |= (off_sweep <= reach) & (off_time <= 0.75 * off_sweep + 8 * width + 16)
    return near


def _spread(delays: NDArray[np.float64], flux: Float32Array) -> float:
    """Give the standard deviation of delays where a pulse shines."""
    mean = np.average(delays, weights=flux)
    return float(np.sqrt(np.average((delays - mean) ** 2, weights=flux)))


class _Found(NamedTuple):
    time_s: float
    dm: float
    snr: float
    f_lo_mhz: float
    f_hi_mhz: float


def sky_facts(candidates: Sequence[Candidate], matched: Matched, sky: Drawn, number: int) -> Facts:
    """Gather what is known of each candidate, shape (n,)."""
    header = sky.plan.header
    facts = np.zeros(len(candidates), FACTS)
    facts["label"], facts["sky"] = matched.labels, number
    facts["band"] = np.nan
    times_s = np.array([c.sample for c in candidates], np.float64) * header.tsamp_s
    around = beside(times_s, np.array([c.snr for c in candidates], np.float32))
    facts["beside"], facts["rival_snr"] = around.others, around.rival_snr
    for i, (candidate, pulse) in enumerate(zip(candidates, matched.pulses, strict=True)):
        facts["dm"][i], facts["sample"][i] = candidate.dm, candidate.sample
        freqs_mhz = _channels(candidate, header)
        facts["f_lo_mhz"][i], facts["f_hi_mhz"][i] = freqs_mhz.min(), freqs_mhz.max()
        facts["part"][i] = _octaves(freqs_mhz) / _octaves(header.freqs_mhz)
        facts["sweep"][i] = candidate.dm / dm_per_sample(freqs_mhz, header.tsamp_s)
        facts["width_samples"][i] = candidate.width_samples
        facts["width_ms"][i] = 1e3 * candidate.width_samples * header.tsamp_s
        facts["kind"][i] = CLASSES.index("pulse" if pulse else _kind(candidate, sky))
        if pulse:
            facts["band"][i] = band_share(pulse, header)
    return facts


def _channels(candidate: Candidate, header: FilterbankHeader) -> NDArray[np.float64]:
    """Give the channels of the part of the band that a candidate was measured in, in MHz."""
    return header.freqs_mhz[slice(*(candidate.channels or (None,)))]


def _octaves(freqs_mhz: NDArray[np.float64]) -> float:
    return float(np.log2(freqs_mhz.max() / freqs_mhz.min()))


def _kind(candidate: Candidate, sky: Drawn) -> str:
    """Say which interference a candidate lies on: of several, the shortest."""
    header, search = sky.plan.header, sky.plan.search
    spread = candidate.width_samples + search.max_width
    start_s = (candidate.sample - spread) * header.tsamp_s
    sweep = candidate.dm / search.unit_dm
    stop_s = (candidate.sample + sweep + spread) * header.tsamp_s

    def length_s(item: Interference) -> float:
        return item.stop_s - item.start_s

    there = [i for i in sky.interference if i.start_s < stop_s and i.stop_s > start_s]
    there = [i for i in there if i.kind not in LASTING]
    return min(there, key=length_s).kind if there else "noise"
