"""Radio-frequency interference and the faults of a receiver."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..data import BoolArray, FilterbankHeader, Float32Array
from ..dispersion import channel_shape
from ..errors import ConfigError

type Float64 = NDArray[np.float64]
type Kind = Literal[
    "burst", "swing", "carrier", "pulsed", "radar", "chirp", "gain", "hum", "dropped", "dead"
]

#: System power in units of the noise of one sample: what gains multiply.
SYSTEM_LEVEL = 6.0

#: Random chirps depart from the delay law by so many of their widths, else nobody could
#: tell them from a pulse.
CHIRP_BEND = 5.0

_ADDS_POWER = ("burst", "swing", "carrier", "pulsed", "radar", "chirp")


@dataclass(frozen=True, slots=True)
class Interference:
    """One source of interference, or one fault, from ``start_s`` to ``stop_s``.

    What each kind does between ``f_lo_mhz`` and ``f_hi_mhz`` (None: band edge):

    ========= =======================================================================
    burst     ``level`` in all channels at once: a pulse at DM 0
    swing     the same for longer, up or down, as an unsteady receiver has it
    carrier   ``level`` all the time
    pulsed    ``level`` for ``width_ms`` in every ``period_s``
    radar     the same, under an antenna beam that passes once; peaks at ``level``
    chirp     ``level`` for ``width_ms``, down the band; the delay goes as frequency to
              the power of ``law``
    gain      the power is multiplied by ``level``
    hum       the gain swings by ``level`` (a fraction) with ``period_s``
    dropped   nothing was recorded: zeros
    dead      nothing is ever recorded in these channels: zeros
    ========= =======================================================================

    Parameters
    ----------
    level
        In units of the noise of one sample of one channel, except where said above.

    Raises
    ------
    ConfigError
        Where the kind is unknown, or needs a period or a width that is not given.
    """

    kind: Kind
    start_s: float = 0.0
    stop_s: float = np.inf
    level: float = 0.0
    f_lo_mhz: float | None = None
    f_hi_mhz: float | None = None
    period_s: float = 0.0
    width_ms: float = 0.0
    law: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind.__value__):
            known = ", ".join(get_args(Kind.__value__))
            raise ConfigError("interference", f"{self.kind!r} is unknown", f"take one of {known}")
        needs = {"period_s": ("pulsed", "radar", "hum"), "width_ms": ("pulsed", "radar", "chirp")}
        for field, kinds in needs.items():
            if self.kind in kinds and not getattr(self, field) > 0:
                raise ConfigError(f"interference {self.kind}", f"no {field}", f"give a {field}")

    @property
    def is_power(self) -> bool:
        """Whether it adds power; else it changes the gain."""
        return self.kind in _ADDS_POWER


def power(items: Sequence[Interference], time_s: Float64, freqs_mhz: Float64) -> Float32Array:
    """Sum what the sources add, in units of the noise, shape (nsamples, nchans)."""
    total = np.zeros((len(time_s), len(freqs_mhz)), np.float32)
    for item in items:
        if item.is_power and _overlaps(item, time_s):
            total += item.level * _envelope(item, time_s, freqs_mhz)
    return total


def gain(items: Sequence[Interference], time_s: Float64, freqs_mhz: Float64) -> Float32Array:
    """Multiply the gains of all faults, shape (nsamples, nchans)."""
    total = np.ones((len(time_s), len(freqs_mhz)), np.float32)
    for item in items:
        if not item.is_power and _overlaps(item, time_s):
            where = np.outer(_is_on(item, time_s), _in_band(item, freqs_mhz))
            total *= np.where(where, _factor(item, time_s)[:, None], 1).astype(np.float32)
    return total


def _factor(item: Interference, time_s: Float64) -> Float64:
    match item.kind:
        case "gain":
            return np.full(len(time_s), item.level)
        case "hum":
            return 1 + item.level * np.sin(2 * np.pi * (time_s - item.start_s) / item.period_s)
        case _:
            return np.zeros(len(time_s))


def _envelope(item: Interference, time_s: Float64, freqs_mhz: Float64) -> Float32Array:
    on = _is_on(item, time_s).astype(np.float32)
    if item.kind == "chirp":
        return _chirp(item, time_s, freqs_mhz)
    if item.kind in ("pulsed", "radar"):
        on *= (time_s - item.start_s) % item.period_s < item.width_ms / 1e3
    if item.kind == "radar":
        on *= np.sin(np.pi * (time_s - item.start_s) / (item.stop_s - item.start_s)) ** 2
    return np.outer(on, _in_band(item, freqs_mhz)).astype(np.float32)


def _chirp(item: Interference, time_s: Float64, freqs_mhz: Float64) -> Float32Array:
    low, high = _edges(item, freqs_mhz)
    lag = _share(freqs_mhz, low, high, item.law) * (item.stop_s - item.start_s)
    near = np.abs(time_s[:, None] - (item.start_s + lag)) < item.width_ms / 2e3
    return (near & _in_band(item, freqs_mhz)).astype(np.float32)


def _share(freqs_mhz: Float64, low: float, high: float, law: float) -> Float64:
    """Delay from the top of a band as a share of the whole, by a power law."""
    if high - low < 1e-9 or not law:
        return np.zeros_like(freqs_mhz)
    return np.asarray((high**law - freqs_mhz**law) / (high**law - low**law))


def _overlaps(item: Interference, time_s: Float64) -> bool:
    margin = item.width_ms / 1e3
    return bool(item.start_s - margin <= time_s[-1] and time_s[0] <= item.stop_s + margin)


def _is_on(item: Interference, time_s: Float64) -> BoolArray:
    return (time_s >= item.start_s) & (time_s < item.stop_s)


def _edges(item: Interference, freqs_mhz: Float64) -> tuple[float, float]:
    low = freqs_mhz.min() if item.f_lo_mhz is None else item.f_lo_mhz
    high = freqs_mhz.max() if item.f_hi_mhz is None else item.f_hi_mhz
    return float(low), float(high)


def _in_band(item: Interference, freqs_mhz: Float64) -> BoolArray:
    low, high = _edges(item, freqs_mhz)
    return np.asarray((freqs_mhz >= low) & (freqs_mhz <= high))


@dataclass(frozen=True, slots=True)
class Mixture:
    """Ranges and values that interference is drawn from, evenly.

    Parameters
    ----------
    burst_snr
        S/N of broad-band bursts and of chirps.
    burst_shares
        Parts of the band that the narrower bursts fill.
    laws
        Powers of frequency that the delays of chirps go as.
    period_samples, width_samples
        Of pulsed signals and radars.
    radar_shares
        Parts of the band that radars fill.
    saturates
        Whether there are bursts, too, that are cut off where the numbers end.
    """

    burst_snr: tuple[float, float] = (10, 80)
    burst_shares: tuple[float, ...] = (0.6,)
    laws: tuple[float, ...] = (1.0,)
    period_samples: tuple[float, float] = (50, 500)
    width_samples: tuple[float, float] = (1, 20)
    radar_shares: tuple[float, ...] = (0.3,)
    saturates: bool = False


#: What there is unless somebody says otherwise.
USUAL = Mixture()


def random_interference(
    header: FilterbankHeader, seconds: float, rng: np.random.Generator, mixture: Mixture = USUAL
) -> tuple[Interference, ...]:
    """Draw a mixture of every kind, about one of each in ten seconds of data."""
    band, low = header.f_hi_mhz - header.f_lo_mhz, header.f_lo_mhz
    # The hum of the mains, well below the noise of a sample of the band sum.
    hum = float(rng.uniform(0.02, 0.2)) / (SYSTEM_LEVEL * float(np.sqrt(header.nchans)))
    items = [
        Interference("dead", f_lo_mhz=low, f_hi_mhz=low + float(rng.uniform(0, 0.03)) * band),
        Interference("hum", level=hum, period_s=1 / 50),
    ]
    for _ in range(max(1, round(seconds / 10))):
        items += _broad(header, seconds, rng, mixture) + _narrow(header, seconds, rng, mixture)
        if mixture.saturates:
            start_s = float(rng.uniform(0, seconds))
            stop_s = start_s + float(rng.uniform(1, 50)) * header.tsamp_s
            items.append(Interference("burst", start_s, stop_s, level=float(rng.uniform(10, 60))))
    return tuple(items)


def _broad(
    header: FilterbankHeader, seconds: float, rng: np.random.Generator, mixture: Mixture
) -> list[Interference]:
    tsamp, nchans = header.tsamp_s, header.nchans

    def draw(kind: Kind, length_s: float, level: float, width_s: float = 0.0) -> Interference:
        start = float(rng.uniform(0, max(seconds - length_s, 0)))
        return Interference(kind, start, start + length_s, level, width_ms=1e3 * width_s)

    def level(width_s: float) -> float:
        return float(rng.uniform(*mixture.burst_snr)) / float(np.sqrt(nchans * width_s / tsamp))

    widths_s = (tsamp * np.exp(rng.uniform(0, np.log(64), 3))).tolist()
    sweep_s = tsamp * float(np.exp(rng.uniform(np.log(20), np.log(2000))))
    law, share = _one_of(mixture.laws, rng), _one_of(mixture.burst_shares, rng)
    sweep_s = max(sweep_s, CHIRP_BEND * max(widths_s[2], tsamp) / bend(header, law))
    return [
        draw("burst", widths_s[0], level(widths_s[0])),
        _somewhere(draw("burst", widths_s[1], level(widths_s[1])), share, header, rng),
        replace(draw("chirp", sweep_s, level(widths_s[2]), widths_s[2]), law=law),
        draw("gain", rng.uniform(0.1, 0.5) * seconds, rng.uniform(0.8, 1.25)),
        draw("dropped", rng.uniform(1, 200) * tsamp, 0.0),
    ]


def _one_of(values: tuple[float, ...], rng: np.random.Generator) -> float:
    # one value is no choice, and draws no number
    return float(rng.choice(values)) if len(values) > 1 else values[0]


def bend(header: FilterbankHeader, law: float = 1.0) -> float:
    """How far another law departs from that of dispersion, as a fraction of the sweep."""
    freqs_mhz = header.freqs_mhz
    other = _share(freqs_mhz, header.f_lo_mhz, header.f_hi_mhz, law)
    return float(np.abs(channel_shape(freqs_mhz) - other).max())


def _narrow(
    header: FilterbankHeader, seconds: float, rng: np.random.Generator, mixture: Mixture
) -> list[Interference]:
    every_s = float(rng.uniform(*mixture.period_samples)) * header.tsamp_s
    width_ms = 1e3 * float(rng.uniform(*mixture.width_samples)) * header.tsamp_s

    def draw(kind: Kind, length_s: float, level: float) -> Interference:
        start = float(rng.uniform(0, max(seconds - length_s, 0)))
        pulses = (every_s, width_ms) if kind != "carrier" else (0.0, 0.0)
        return Interference(kind, start, start + length_s, level, None, None, *pulses)

    channel, share = 1.5 / header.nchans, _one_of(mixture.radar_shares, rng)
    return [
        _somewhere(draw("carrier", seconds / 2, rng.uniform(0.5, 5)), channel, header, rng),
        _somewhere(draw("pulsed", seconds / 5, rng.uniform(1, 20)), 2 * channel, header, rng),
        _somewhere(draw("radar", min(2.0, seconds / 5), rng.uniform(0.2, 2)), share, header, rng),
    ]


def _somewhere(
    item: Interference, share: float, header: FilterbankHeader, rng: np.random.Generator
) -> Interference:
    """Put it at random into a share of the band."""
    band = header.f_hi_mhz - header.f_lo_mhz
    low = header.f_lo_mhz + float(rng.uniform(0, 1 - share)) * band
    return replace(item, f_lo_mhz=low, f_hi_mhz=low + share * band)
