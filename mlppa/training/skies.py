"""Skies to train on: any telescope, pulses of every sort, interference of every kind."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..config import Plan, SearchSettings, SettingError
from ..data import FilterbankHeader
from ..dispersion import dm_per_sample
from ..errors import InputError
from ..simulate import (
    HybridSource,
    Interference,
    Mixture,
    Pulse,
    Sky,
    SkySource,
    random_interference,
    reach,
)
from ..sources import Source, open_source
from ..sources.observation import FileSource

#: Length of a training sky in samples, and bursts in it.
SKY_SAMPLES = 32768
SKY_PULSES = 16

#: One sky of so many is not trained on: it tells when to stop, and where to cut.
VALIDATION = 5

#: Kinds of interference that leave what is the most like a pulse: more of them are shown.
MOST_LIKE_PULSES = ("pulsed", "radar", "chirp")

#: Longest boxcar in samples.
WIDEST = 128

#: In this part of the skies the level swings, over so many of the longest boxcars.
SWINGING = 0.35
SWING_WIDTHS = (0.15, 4.0)

#: Bands between which no sky to train on has its middle, for those to measure on have.
UNSEEN_MHZ = ((500.0, 700.0), (1700.0, 2300.0))

#: Bandwidth over the middle of the band: from a narrow one to Parkes' wide-band receiver.
BANDWIDTHS = (0.05, 1.4)

#: Middles of bands; lengths of samples; and bits, with how often skies have them.
CENTRES_MHZ = (300.0, 4000.0)
SAMPLES_S = (4e-5, 2e-3)
NBITS = {1: 0.08, 2: 0.17, 4: 0.15, 8: 0.4, 16: 0.1, 32: 0.1}

#: Numbers of channels, and how often skies to train on have them; and those to measure on.
CHANNELS = {64: 0.2, 128: 0.25, 256: 0.3, 512: 0.2, 1024: 0.05}
UNSEEN_CHANNELS = (96, 160, 336, 768)

#: All of that in words.
TELESCOPES = (
    f"{CENTRES_MHZ[0] / 1e3:g}-{CENTRES_MHZ[1] / 1e3:g} GHz, "
    f"band {100 * BANDWIDTHS[0]:g}-{100 * BANDWIDTHS[1]:g} %, "
    f"{min(CHANNELS)}-{max(CHANNELS)} channels, "
    f"{1e6 * SAMPLES_S[0]:.0f} us - {1e3 * SAMPLES_S[1]:g} ms, {min(NBITS)}-{max(NBITS)} bit"
)

#: Interference to train on, and to measure on.
SEEN = Mixture(
    burst_shares=(0.15, 0.25, 0.45, 0.6, 0.8),
    laws=(1.0, -0.5, 2.0),
    radar_shares=(0.15, 0.3, 0.4, 0.7),
    saturates=True,
)
UNSEEN = Mixture(
    burst_snr=(8, 120),
    burst_shares=(0.35,),
    laws=(1.5, 0.3),
    period_samples=(500, 2000),
    width_samples=(20, 40),
    radar_shares=(0.5,),
    saturates=True,
)

#: Where parts of the band are searched, so many pulses shine in a narrow part, as wide as this.
NARROW = 0.2
NARROW_SHARES = (0.12, 0.6)

#: How often a recording stands for a simulated sky, where any is given; and the least samples
#: for one, for few whole sweeps are in less.
RECORDED = 0.3
LEAST_RECORDED = 4096


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
    unseen
        Whether telescope and interference are of those that nothing is trained on.
    parts
        Whether parts of the band are searched by themselves, too.
    recordings
        Filterbanks without pulses that some skies are made from, pulses being put in.

    Raises
    ------
    SettingError
        Where skies to measure on are to be made from recordings: others are trained on them.
    """

    seed: int
    number: int
    res: int
    threshold: float
    unseen: bool = False
    parts: bool = False
    recordings: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.unseen and self.recordings:
            cause = "skies to measure on cannot be made from what is trained on"
            raise SettingError("recordings", cause, "leave out either these or `unseen`")

    @property
    def validates(self) -> bool:
        """Whether it is not trained on."""
        return self.number % VALIDATION == 0


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sky to search, with what is in it.

    Parameters
    ----------
    source, plan
        The samples, and how to search them.
    pulses, interference
        What was put in.
    """

    source: Source
    plan: Plan
    pulses: tuple[Pulse, ...]
    interference: tuple[Interference, ...] = ()


def draw_sky(at: Draw) -> Drawn:
    """Draw a telescope and a sky.

    Raises
    ------
    InputError
        Where a recording cannot be read or is too short.
    """
    rng = np.random.default_rng((at.seed, at.number))
    if at.recordings and rng.uniform() < RECORDED:
        return _recorded(at.recordings[int(rng.integers(len(at.recordings)))], at, rng)
    plan = random_plan(rng, at)
    sky = training_sky(plan, rng, at)
    return Drawn(SkySource(sky), plan, sky.pulses, sky.interference)


def random_plan(rng: np.random.Generator, at: Draw) -> Plan:
    """Draw a telescope and a search: 0.3 to 4 GHz, 64 to 1024 channels, any depth."""
    centre_mhz = _centre_mhz(rng, at.unseen)
    band_mhz = centre_mhz * _between(rng, *BANDWIDTHS)
    nchans = int(rng.choice(list(CHANNELS), p=list(CHANNELS.values())))
    if at.unseen:
        nchans = int(rng.choice(UNSEEN_CHANNELS))
    foff_mhz = float(rng.choice([-1, 1])) * band_mhz / nchans
    header = FilterbankHeader(
        nchans=nchans,
        fch1_mhz=centre_mhz - foff_mhz * (nchans - 1) / 2,
        foff_mhz=foff_mhz,
        tsamp_s=_between(rng, *SAMPLES_S),
        tstart_mjd=60000.0,
        nbits=int(rng.choice(list(NBITS), p=list(NBITS.values()))),
    )
    return _plan(header, rng, at)


def _plan(header: FilterbankHeader, rng: np.random.Generator, at: Draw) -> Plan:
    longest = _between(rng, 300, 5000)
    settings = SearchSettings(
        dm_max=longest * dm_per_sample(header.freqs_mhz, header.tsamp_s),
        width_max_ms=1e3 * WIDEST * header.tsamp_s,
        threshold=at.threshold,
        threads=1,
        plan="quality" if rng.uniform() < 0.5 else "fast",
        subbands=at.parts,
    )
    return Plan.make(settings, header, at.res)


def _centre_mhz(rng: np.random.Generator, unseen: bool) -> float:
    """Draw the middle of a band, inside or outside of `UNSEEN_MHZ`."""
    if unseen:
        return _between(rng, *UNSEEN_MHZ[int(rng.integers(len(UNSEEN_MHZ)))])
    while True:
        centre_mhz = _between(rng, *CENTRES_MHZ)
        if not any(low <= centre_mhz <= high for low, high in UNSEEN_MHZ):
            return centre_mhz


def training_sky(plan: Plan, rng: np.random.Generator, at: Draw) -> Sky:
    """Draw a crowded sky: pulses of every sort, and interference in two of three."""
    header, mixture = plan.header, UNSEEN if at.unseen else SEEN
    pulses = tuple(pulse for slot in range(SKY_PULSES) for pulse in _burst(plan, rng, slot))
    seconds = SKY_SAMPLES * header.tsamp_s
    sets: list[Interference] = []
    if rng.uniform() < 2 / 3:
        for _ in range(int(rng.integers(1, 3))):
            sets += random_interference(header, seconds, rng, mixture)
            more = random_interference(header, seconds, rng, mixture)
            sets += [item for item in more if item.kind in MOST_LIKE_PULSES]
    if rng.uniform() < SWINGING:
        sets += _swings(header, seconds, rng)
    return Sky(
        header=header,
        nsamples=SKY_SAMPLES,
        pulses=pulses,
        interference=tuple(sets),
        seed=int(rng.integers(2**31)),
        bandpass=float(rng.uniform(0, 0.8)),
    )


def _recorded(path: Path, at: Draw, rng: np.random.Generator) -> Drawn:
    """Put pulses into a stretch of a recording."""
    source = open_source([str(path)])
    if not isinstance(source, FileSource):
        raise InputError(path, "is not a recording", "give files of search-mode data")
    plan = _plan(source.header, rng, at)
    source.only([_stretch(path, source.nsamples, at, rng)])
    spectra = np.concatenate([block.spectra for block in source.blocks()])
    bursts = (_burst(plan, rng, slot) for slot in range(SKY_PULSES))
    pulses = tuple(
        pulse for burst in bursts for pulse in burst if reach(pulse, plan.header)[1] < len(spectra)
    )
    return Drawn(HybridSource(plan.header, spectra, pulses), plan, pulses)


def _stretch(path: Path, nsamples: int, at: Draw, rng: np.random.Generator) -> tuple[int, int]:
    """Draw first and last of so many samples: the end of a recording is not trained on."""
    split = nsamples - nsamples // VALIDATION
    first, last = (split, nsamples) if at.validates else (0, split)
    if nsamples // VALIDATION < LEAST_RECORDED:
        cause = f"holds {nsamples} samples; {VALIDATION * LEAST_RECORDED} are the least"
        raise InputError(path, cause, "leave it out of the recordings, or give a longer one")
    start = first + int(rng.integers(max(last - first - SKY_SAMPLES, 0) + 1))
    return start, min(start + SKY_SAMPLES, last)


def _swings(
    header: FilterbankHeader, seconds: float, rng: np.random.Generator
) -> Iterator[Interference]:
    """Let the level of some parts of the band swing, as slowly as the widest pulses are.

    As the wide-band receiver of Parkes does in the recordings of the Crab pulsar: parts of
    the band that lie far apart may swing together.
    """
    edges = np.sort(rng.uniform(header.f_lo_mhz, header.f_hi_mhz, (int(rng.integers(1, 5)), 2)))
    together = rng.uniform()
    for _ in range(int(rng.integers(6, 80))):
        width = WIDEST * _between(rng, *SWING_WIDTHS)
        start_s = float(rng.uniform(0, seconds))
        snr = float(rng.uniform(-25, 25))
        parts = edges if rng.uniform() < together else edges[rng.integers(len(edges)), None]
        for low, high in parts.tolist():
            nchans = max(header.nchans * (high - low) / (header.f_hi_mhz - header.f_lo_mhz), 1)
            yield Interference(
                "swing",
                start_s,
                start_s + width * header.tsamp_s,
                level=snr / float(np.sqrt(nchans * width)),
                f_lo_mhz=low,
                f_hi_mhz=high,
            )


def _burst(plan: Plan, rng: np.random.Generator, slot: int) -> list[Pulse]:
    """Draw one pulse, or the drifting parts of one, in its slot of the sky."""
    header, tsamp_s = plan.header, plan.header.tsamp_s
    width = _between(rng, 0.5, WIDEST / 3)
    least = max(8.0, 3 * width)
    # one of seven is hardly dispersed: its sweep is about as long as the pulse
    if rng.uniform() < 1 / 7:
        sweep = _between(rng, max(2.0, 0.7 * width), least)
    else:
        sweep = _between(rng, least, plan.search.max_sweep)
    pulse = Pulse(
        time_s=0.0,
        dm=sweep * plan.search.unit_dm,
        width_ms=1e3 * width * tsamp_s,
        snr=_between(rng, 4, 30) if rng.uniform() < 0.8 else _between(rng, 30, 300),
        spectral_index=float(rng.uniform(-4, 4)),
    )
    if plan.search.subbands and rng.uniform() < NARROW:
        parts = [_narrow(pulse, rng, header)]
    elif rng.uniform() < 0.1:
        parts = _drifting(pulse, rng, header)
    else:
        parts = [_coloured(pulse, rng, header)]
    if rng.uniform() < 0.2:
        # A tenth of a width to two widths, at the middle of the band.
        centre_ghz = (header.f_lo_mhz + header.f_hi_mhz) / 2e3
        scatter_ms = pulse.width_ms * _between(rng, 0.1, 2) * centre_ghz**4
        parts = [replace(part, scatter_ms=scatter_ms) for part in parts]
    ends = np.array([reach(part, header) for part in parts])
    start, stop = int(ends.min()), int(ends.max())
    room = max(SKY_SAMPLES - (stop - start), 0)
    first = (slot + rng.uniform(0.1, 0.9)) / SKY_PULSES * room
    return [replace(part, time_s=part.time_s + (first - start) * tsamp_s) for part in parts]


def _coloured(pulse: Pulse, rng: np.random.Generator, header: FilterbankHeader) -> Pulse:
    """Give half of the pulses all of the band, the others a part of it."""
    band_mhz = header.f_hi_mhz - header.f_lo_mhz
    sort = rng.uniform()
    if sort < 1 / 4:
        share = float(rng.uniform(0.3, 1))
        low = header.f_lo_mhz + float(rng.uniform(0, 1 - share)) * band_mhz
        return replace(pulse, f_lo_mhz=low, f_hi_mhz=low + share * band_mhz)
    if sort < 3 / 8:
        centre_mhz = header.f_lo_mhz + float(rng.uniform(0, 1)) * band_mhz
        return replace(pulse, centre_mhz=centre_mhz, fwhm_mhz=_between(rng, 0.2, 1) * band_mhz)
    if sort < 1 / 2:
        scintle_mhz = _between(rng, 0.02, 0.3) * band_mhz
        return replace(pulse, scintle_mhz=scintle_mhz, scintle_seed=int(rng.integers(2**31)))
    return pulse


def _narrow(pulse: Pulse, rng: np.random.Generator, header: FilterbankHeader) -> Pulse:
    """Give a pulse a narrow part of the band, with sharp edges or without."""
    band_mhz = header.f_hi_mhz - header.f_lo_mhz
    width_mhz = max(_between(rng, *NARROW_SHARES) * band_mhz, 2 * abs(header.foff_mhz))
    low = header.f_lo_mhz + float(rng.uniform()) * (band_mhz - width_mhz)
    if rng.uniform() < 1 / 2:
        return replace(pulse, f_lo_mhz=low, f_hi_mhz=low + width_mhz)
    # a Gaussian shines in half as much again as it is wide
    return replace(pulse, centre_mhz=low + width_mhz / 2, fwhm_mhz=width_mhz / 1.5)


def _drifting(pulse: Pulse, rng: np.random.Generator, header: FilterbankHeader) -> list[Pulse]:
    """Give the parts of a burst that come later the lower they are, as repeaters have them.

    Hessels et al. 2019, ApJL 876, L23.
    """
    band_mhz = header.f_hi_mhz - header.f_lo_mhz
    count = int(rng.integers(2, 5))
    later_ms = pulse.width_ms * _between(rng, 1.2, 6)
    top = header.f_hi_mhz - float(rng.uniform(0, 0.3)) * band_mhz
    step_mhz = float(rng.uniform(0, 0.8)) * band_mhz / count
    fwhm_mhz = _between(rng, 0.2, 0.6) * band_mhz
    return [
        replace(
            pulse,
            time_s=1e-3 * later_ms * number,
            snr=pulse.snr * _between(rng, 0.4, 1),
            centre_mhz=top - step_mhz * number,
            fwhm_mhz=fwhm_mhz,
        )
        for number in range(count)
    ]


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw evenly in the logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(max(high, low)))))
