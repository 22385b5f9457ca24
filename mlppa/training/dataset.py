"""Labelled images from simulated skies, cut by the same code as live ones."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..clean import clean
from ..config import Plan, SearchSettings
from ..data import BoolArray, Candidate, FilterbankHeader, Float32Array, ImageBatch
from ..dedisperse import Kernel
from ..dispersion import dm_per_sample
from ..gulps import gulps
from ..images import FEATURES, cut_images
from ..search import search
from ..simulate import (
    Interference,
    Kind,
    Pulse,
    Sky,
    SkySource,
    claim,
    random_interference,
    reach,
)
from ..sources import Source

#: Length of a training sky in samples, and pulses in it.
SKY_SAMPLES = 32768
SKY_PULSES = 16

#: Images without a pulse that are kept of one sky: a storm must not fill the set.
MOST_NEGATIVES = 48

#: Kinds of interference that leave what is the most like a pulse: more of them are shown.
MOST_LIKE_PULSES = ("pulsed", "radar", "chirp")

#: Longest boxcar in samples.
WIDEST = 128

#: In this part of the skies the level swings, over so many of the longest boxcars.
SWINGING = 0.3
SWING_WIDTHS = (0.15, 2.0)


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Labelled images.

    Parameters
    ----------
    images, features
        As in `ImageBatch`, shapes (n, res, res) and (n, 4).
    labels
        True where the image shows a pulse, shape (n,).
    skies
        Which sky each comes from, shape (n,): sets are split by sky, never inside one.
    missed
        S/N of the pulses that the search did not find, shape (m,).
    """

    images: Float32Array
    features: Float32Array
    labels: BoolArray
    skies: NDArray[np.int64]
    missed: Float32Array

    @property
    def snrs(self) -> Float32Array:
        """S/N of each candidate."""
        return self.features[:, FEATURES.index("snr")]

    def take(self, which: NDArray[np.generic]) -> "Examples":
        """Give some of them, by a mask or by indices."""
        return Examples(
            self.images[which],
            self.features[which],
            self.labels[which],
            self.skies[which],
            self.missed,
        )


@dataclass(frozen=True, slots=True)
class Draw:
    """Which sky to draw: the same numbers give the same one.

    Parameters
    ----------
    seed, number
        Of the set, and of the sky in it.
    res
        Pixels of an image.
    threshold
        S/N from which peaks are candidates.
    """

    seed: int
    number: int
    res: int
    threshold: float


def join(parts: Iterable[Examples]) -> Examples:
    """Put sets of examples together."""
    held = list(parts)
    return Examples(
        np.concatenate([part.images for part in held]),
        np.concatenate([part.features for part in held]),
        np.concatenate([part.labels for part in held]),
        np.concatenate([part.skies for part in held]),
        np.concatenate([part.missed for part in held]),
    )


def random_plan(rng: np.random.Generator, res: int, threshold: float) -> Plan:
    """Draw a telescope and a search: 0.3 to 4 GHz, 64 to 1024 channels, any depth."""
    centre_mhz = _between(rng, 300, 4000)
    band_mhz = centre_mhz * _between(rng, 0.05, 0.6)
    nchans = int(rng.choice([64, 128, 256, 512, 1024], p=[0.2, 0.25, 0.3, 0.2, 0.05]))
    foff_mhz = float(rng.choice([-1, 1])) * band_mhz / nchans
    header = FilterbankHeader(
        nchans=nchans,
        fch1_mhz=centre_mhz - foff_mhz * (nchans - 1) / 2,
        foff_mhz=foff_mhz,
        tsamp_s=_between(rng, 4e-5, 2e-3),
        tstart_mjd=60000.0,
        nbits=int(rng.choice([1, 2, 4, 8, 16, 32], p=[0.08, 0.17, 0.15, 0.4, 0.1, 0.1])),
    )
    longest = _between(rng, 300, 5000)
    settings = SearchSettings(
        dm_max=longest * dm_per_sample(header.freqs_mhz, header.tsamp_s),
        width_max_ms=1e3 * WIDEST * header.tsamp_s,
        threshold=threshold,
        threads=1,
        plan="quality" if rng.uniform() < 0.5 else "fast",
    )
    return Plan.make(settings, header, res)


def random_examples(at: Draw, kernel: Kernel, kind: Kind | None = None) -> Examples:
    """Draw a telescope and a sky, search it and label what comes out.

    Parameters
    ----------
    at
        Which draw; the same one gives the same examples.
    kernel
        What does the dedispersion.
    kind
        The only interference there is; None for none or a mixture of every kind.
    """
    rng = np.random.default_rng((at.seed, at.number))
    plan = random_plan(rng, at.res, at.threshold)
    sky = training_sky(plan, rng, kind)
    return sky_examples(sky, plan, kernel, at.number)


def training_sky(plan: Plan, rng: np.random.Generator, kind: Kind | None = None) -> Sky:
    """Draw a crowded sky: pulses of every sort, and interference in two of three."""
    header = plan.header
    pulses = tuple(_pulse(plan, rng, slot) for slot in range(SKY_PULSES))
    seconds = SKY_SAMPLES * header.tsamp_s
    sets: list[Interference] = []
    if kind or rng.uniform() < 2 / 3:
        for _ in range(int(rng.integers(1, 3))):
            sets += random_interference(header, seconds, rng)
            more = random_interference(header, seconds, rng)
            sets += [item for item in more if item.kind in MOST_LIKE_PULSES]
    if not kind and rng.uniform() < SWINGING:
        sets += _swings(header, seconds, rng)
    return Sky(
        header=header,
        nsamples=SKY_SAMPLES,
        pulses=pulses,
        interference=tuple(item for item in sets if kind in (None, item.kind)),
        seed=int(rng.integers(2**31)),
        bandpass=float(rng.uniform(0, 0.8)),
    )


def _swings(
    header: FilterbankHeader, seconds: float, rng: np.random.Generator
) -> Iterator[Interference]:
    """Let the level of two parts of the band swing, as slowly as the widest pulses are."""
    parts = np.sort(rng.uniform(header.f_lo_mhz, header.f_hi_mhz, (2, 2)))
    for _ in range(int(rng.integers(6, 24))):
        low, high = parts[rng.integers(2)].tolist()
        width = WIDEST * float(np.exp(rng.uniform(*np.log(SWING_WIDTHS))))
        start_s = float(rng.uniform(0, seconds))
        nchans = max(header.nchans * (high - low) / (header.f_hi_mhz - header.f_lo_mhz), 1)
        yield Interference(
            "burst",
            start_s,
            start_s + width * header.tsamp_s,
            level=float(rng.uniform(-25, 25)) / float(np.sqrt(nchans * width)),
            f_lo_mhz=low,
            f_hi_mhz=high,
        )


def sky_examples(sky: Sky, plan: Plan, kernel: Kernel, number: int) -> Examples:
    """Search a sky and label what comes out.

    A candidate is a pulse if it is the strongest one at the place of a pulse, each
    pulse having one at most. What else lies near a pulse is neither, and left out.
    """
    pieces = list(live_images(SkySource(sky), plan, kernel))
    candidates = [c for piece in pieces for c in piece.searched.candidates]
    labels, keep, found = match(candidates, sky.pulses, plan)
    images = np.concatenate([piece.images for piece in pieces])
    features = np.concatenate([piece.features for piece in pieces])
    missed = [p.snr for p, hit in zip(sky.pulses, found, strict=True) if not hit]
    all_of_it = Examples(
        images, features, labels, np.full(len(labels), number), np.array(missed, np.float32)
    )
    rng = np.random.default_rng((sky.seed, 4))
    negatives = rng.permutation(np.flatnonzero(keep & ~labels))[:MOST_NEGATIVES]
    return all_of_it.take(np.sort(np.concatenate([np.flatnonzero(labels), negatives])))


def live_images(source: Source, plan: Plan, kernel: Kernel) -> Iterator[ImageBatch]:
    """Take a source through the stages of the pipeline, as far as its images."""
    cleaned = clean(gulps(source.blocks(), plan.gulp), plan.search.halos, plan.baseline)
    return cut_images(search(cleaned, plan.search, kernel), plan.search)


def match(
    candidates: list[Candidate], pulses: tuple[Pulse, ...], plan: Plan
) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Match candidates to pulses, one to one.

    Returns
    -------
    labels
        Whether each candidate is a pulse.
    keep
        Whether it is certain what it is.
    found
        Whether each pulse has a candidate.
    """
    tsamp_s = plan.header.tsamp_s
    freqs_mhz = plan.header.freqs_mhz
    edges = [freqs_mhz[slice(*(c.channels or (None,)))] for c in candidates]
    found = [
        _Found(c.sample * tsamp_s, c.dm, c.snr, float(e.min()), float(e.max()))
        for c, e in zip(candidates, edges, strict=True)
    ]
    claims, near = claim(pulses, found, plan.header)
    labels = np.isin(np.arange(len(found)), [n for n in claims if n is not None])
    return labels, labels | ~near, np.array([n is not None for n in claims], np.bool_)


class _Found(NamedTuple):
    time_s: float
    dm: float
    snr: float
    f_lo_mhz: float
    f_hi_mhz: float


def _pulse(plan: Plan, rng: np.random.Generator, slot: int) -> Pulse:
    header, tsamp_s = plan.header, plan.header.tsamp_s
    width = _between(rng, 0.5, WIDEST / 3)
    sweep = _between(rng, max(8.0, 3 * width), plan.search.max_sweep)
    pulse = Pulse(
        time_s=0.0,
        dm=sweep * plan.search.unit_dm,
        width_ms=1e3 * width * tsamp_s,
        snr=_between(rng, 5.5, 30) if rng.uniform() < 0.8 else _between(rng, 30, 300),
        spectral_index=float(rng.uniform(-4, 4)),
        **_band(rng, header),
    )
    if rng.uniform() < 0.2:
        # A tenth of a width to two widths, at the middle of the band.
        centre_ghz = (header.f_lo_mhz + header.f_hi_mhz) / 2e3
        pulse = replace(pulse, scatter_ms=pulse.width_ms * _between(rng, 0.1, 2) * centre_ghz**4)
    start, stop = reach(pulse, header)
    room = max(SKY_SAMPLES - (stop - start), 0)
    first = (slot + rng.uniform(0.1, 0.9)) / SKY_PULSES * room
    return replace(pulse, time_s=(first - start) * tsamp_s)


def _band(rng: np.random.Generator, header: FilterbankHeader) -> dict[str, float]:
    """Give two of three pulses all of the band, the others a part of it."""
    if rng.uniform() < 2 / 3:
        return {}
    width_mhz = header.f_hi_mhz - header.f_lo_mhz
    share = float(rng.uniform(0.3, 1))
    low = header.f_lo_mhz + float(rng.uniform(0, 1 - share)) * width_mhz
    return {"f_lo_mhz": low, "f_hi_mhz": low + share * width_mhz}


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw evenly in the logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(max(high, low)))))
