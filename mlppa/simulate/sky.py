"""A simulated sky, streamed: noise, pulses and interference as a telescope records them.

The sky is drawn once, with the highest channel first, in chunks of a fixed number
of samples that are seeded one by one. So the same seed gives the same sky, noise
included, however it is cut into blocks, in either channel order and at any depth.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..data import Block, FilterbankHeader, Float32Array
from ..dispersion import sweep_s
from .interference import SYSTEM_LEVEL, Interference, gain, power, random_interference
from .pulse import Pulse, PulseShape, reach, shape_pulse

_CHUNK = 1024

#: Mean and standard deviation of a recorded sample, by bit depth.
_DIGITISER = {
    1: (0.5, 1.0),
    2: (1.5, 1.0),
    4: (6.0, 2.5),
    8: (96.0, 16.0),
    16: (6144.0, 1024.0),
    32: (96.0, 16.0),
}


#: A receiver as many telescopes have one, for skies of which it does not matter.
L_BAND = FilterbankHeader(
    nchans=256,
    fch1_mhz=1509.4140625,
    foff_mhz=-1.171875,
    tsamp_s=256e-6,
    tstart_mjd=60000.0,
    nbits=8,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sky:
    """All that makes a simulated observation; the same values give the same samples.

    Parameters
    ----------
    header
        Band, sampling and bit depth.
    nsamples
        Length of the observation.
    pulses, interference
        What shines into it. A pulse keeps its S/N only where nothing disturbs it.
    seed
        Of the noise and of the ripple of the bandpass.
    bandpass
        Depth of the roll-off and ripple of the receiver, 0 (flat) to below 1. Records of
        less than 8 bits have none: their levels are set channel by channel.
    """

    header: FilterbankHeader
    nsamples: int
    pulses: tuple[Pulse, ...] = ()
    interference: tuple[Interference, ...] = ()
    seed: int = 0
    bandpass: float = 0.0


@dataclass(frozen=True, slots=True)
class Population:
    """Ranges that pulses are drawn from: DM evenly, S/N and width evenly in the logarithm."""

    n_pulses: int = 10
    snr: tuple[float, float] = (10.0, 40.0)
    dm: tuple[float, float] = (50.0, 500.0)
    width_ms: tuple[float, float] = (1.0, 20.0)


def random_sky(
    header: FilterbankHeader, seconds: float, population: Population, rfi: bool, seed: int
) -> Sky:
    """Draw a sky whose pulses follow each other and end before the data do."""
    rng = np.random.default_rng((seed, 2))
    pulses = []
    for slot in range(population.n_pulses):
        pulse = Pulse(
            time_s=0.0,
            dm=float(rng.uniform(*population.dm)),
            width_ms=float(np.exp(rng.uniform(*np.log(population.width_ms)))),
            snr=float(np.exp(rng.uniform(*np.log(population.snr)))),
        )
        start, stop = reach(pulse, header)
        room = max(seconds - (stop - start) * header.tsamp_s, 0.0)
        where = (slot + rng.uniform(0.1, 0.9)) / population.n_pulses
        pulses.append(replace(pulse, time_s=where * room - start * header.tsamp_s))
    return Sky(
        header=header,
        nsamples=round(seconds / header.tsamp_s),
        pulses=tuple(pulses),
        interference=random_interference(header, seconds, rng) if rfi else (),
        seed=seed,
        bandpass=0.3 if rfi else 0.0,
    )


def shapes_bytes(header: FilterbankHeader, population: Population, seconds: float) -> float:
    """Estimate the most memory that the shapes of pulses take while they shine."""
    longest = Pulse(0.0, population.dm[1], population.width_ms[1], snr=1.0)
    start, stop = reach(longest, header)
    length = stop - start - sweep_s(longest.dm, header.freqs_mhz) / header.tsamp_s
    at_once = 1 + population.n_pulses * min((stop - start) * header.tsamp_s / seconds, 1)
    # 4 bytes when it is made, four times as much in the making
    return header.nchans * length * (4 * at_once + 16)


def blocks(sky: Sky, nsamples: int = 4096) -> Iterator[Block]:
    """Record the sky, in blocks of ``nsamples`` spectra (the last one may be shorter)."""
    chunks = _chunks(sky)
    held = [next(chunks)] if sky.nsamples > 0 else []
    for start in range(0, sky.nsamples, nsamples):
        wanted = min(nsamples, sky.nsamples - start)
        while sum(map(len, held)) < wanted:
            held.append(next(chunks))
        spectra = held[0] if len(held) == 1 else np.concatenate(held)
        held = [spectra[wanted:]]
        yield Block(start, spectra[:wanted].copy())


@dataclass(slots=True)
class SkySource:
    """A simulated sky as a source of the pipeline; never live."""

    sky: Sky
    block_nsamples: int = 4096
    live: bool = False
    _closed: bool = field(default=False, init=False)

    @property
    def header(self) -> FilterbankHeader:
        """Header of the stream."""
        return self.sky.header

    @property
    def nsamples(self) -> int:
        """Length of the observation in samples."""
        return self.sky.nsamples

    def blocks(self) -> Iterator[Block]:
        """Give the blocks in order, until the end or until `close`."""
        for block in blocks(self.sky, self.block_nsamples):
            if self._closed:
                return
            yield block

    def close(self) -> None:
        """End the blocks after the one in progress."""
        self._closed = True


def _chunks(sky: Sky) -> Iterator[NDArray[np.generic]]:
    """Record chunk by chunk; the shape of a pulse is held only while it shines."""
    down = _descending(sky.header)
    waiting = sorted(sky.pulses, key=lambda pulse: -reach(pulse, down)[0])
    shining: list[PulseShape] = []
    for start in range(0, sky.nsamples, _CHUNK):
        while waiting and reach(waiting[-1], down)[0] < start + _CHUNK:
            shining.append(shape_pulse(waiting.pop(), down))
        shining = [shape for shape in shining if shape.stop > start]
        recorded = _digitise(_received(sky, down, start, shining), sky)
        yield recorded if sky.header.foff_mhz < 0 else recorded[:, ::-1]


def _descending(header: FilterbankHeader) -> FilterbankHeader:
    return replace(header, fch1_mhz=header.f_hi_mhz, foff_mhz=-abs(header.foff_mhz))


def _received(
    sky: Sky, down: FilterbankHeader, start: int, shining: list[PulseShape]
) -> Float32Array:
    """Power above the system's own, in units of its noise; the highest channel first."""
    rng = np.random.default_rng((sky.seed, 1, start // _CHUNK))
    signal = rng.standard_normal((_CHUNK, down.nchans), dtype=np.float32)
    time_s = np.arange(start, start + _CHUNK, dtype=np.float64) * down.tsamp_s
    if sky.interference:
        added = power(sky.interference, time_s, down.freqs_mhz)
        # The radiometer equation: what adds power adds noise in proportion.
        signal *= 1 + added / SYSTEM_LEVEL
        signal += added
    for shape in shining:
        shape.add_to(signal, start)
    if sky.interference:
        signal += SYSTEM_LEVEL
        signal *= gain(sky.interference, time_s, down.freqs_mhz)
        signal -= SYSTEM_LEVEL
    return signal[: sky.nsamples - start]


def _digitise(signal: Float32Array, sky: Sky) -> NDArray[np.generic]:
    nbits = sky.header.nbits
    level, scale = _DIGITISER[nbits]
    counts = np.float32(level) + np.float32(scale) * signal
    if nbits >= 8 and sky.bandpass:
        counts *= _bandpass(sky)
    if nbits == 32:
        return counts
    counts = np.floor(counts + np.float32(0.5)).clip(0, 2**nbits - 1)
    return counts.astype(np.uint16 if nbits == 16 else np.uint8)


def _bandpass(sky: Sky) -> Float32Array:
    """Relative gain of each channel, the highest first, between 1 - depth and 1."""
    rng = np.random.default_rng((sky.seed, 3))
    x = np.linspace(-1, 1, sky.header.nchans)
    ripple = 0.5 + 0.5 * np.sin(2 * np.pi * (rng.uniform(3, 12) * x + rng.uniform()))
    loss = np.maximum(x**16, 0.3 * ripple)
    return np.asarray(1 - sky.bandpass * loss, np.float32)
