"""What the search loses: against an exact one, on noise, and under interference.

Minutes each. The exact search is at the true DM, on the samples as they were recorded, with
boxcars of every width and phase, and knows nothing of the program.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from math import erf

import numpy as np
import pytest
from numpy.typing import NDArray

from mlppa.bench import CASES
from mlppa.classify import load_model
from mlppa.clean import clean
from mlppa.config import ClassifySettings, Plan, SearchSettings
from mlppa.data import Block, Candidate, FilterbankHeader
from mlppa.dedisperse.engine import Engine
from mlppa.dispersion import delay_s, smear_s
from mlppa.gulps import gulps
from mlppa.pipeline import Parts, pipeline
from mlppa.search import search
from mlppa.simulate import Interference, Population, Pulse, Sky, SkySource, random_sky

from .conftest import Tell

pytestmark = pytest.mark.timeout(3600)

#: Level and noise of what the simulator records with 8 bits.
LEVEL, NOISE = 96.0, 16.0

#: Half of the stretch around a pulse that the exact search looks at, in samples.
AROUND = 8192

THRESHOLD = 6.5


class Watched:
    """A sky, and what an exact search at the true DMs finds while it passes."""

    live = False

    def __init__(self, sky: Sky) -> None:
        header = sky.header
        self.header, self.nsamples, self._sky = header, sky.nsamples, sky
        self._starts = np.array([_starts(pulse, header) for pulse in sky.pulses])
        self.series = np.zeros((len(sky.pulses), 2 * AROUND))

    def blocks(self) -> Iterator[Block]:
        for block in SkySource(self._sky, block_nsamples=16384).blocks():
            z = (block.spectra.T.astype(np.float32) - LEVEL) / NOISE
            for starts, series in zip(self._starts, self.series, strict=True):
                if starts.min() < block.stop and starts.max() + 2 * AROUND > block.start:
                    _add(z, starts - block.start, series)
            yield block

    def close(self) -> None: ...

    def snr(self, number: int, reach: int) -> float:
        """Best S/N of a pulse, its middle within ``reach`` samples of the true one."""
        total = np.concatenate([[0.0], self.series[number].cumsum()])
        best = 0.0
        for width in np.unique(np.geomspace(1, 4 * reach, 60).astype(int)):
            middle = AROUND - width // 2
            begin = np.arange(middle - reach, middle + reach + 1)
            begin = begin[(begin >= 0) & (begin + width < len(total))]
            best = max(best, (total[begin + width] - total[begin]).max() / np.sqrt(width))
        return float(best / np.sqrt(self.header.nchans))


def _starts(pulse: Pulse, header: FilterbankHeader) -> NDArray[np.int64]:
    delays = delay_s(pulse.dm, header.freqs_mhz, header.f_hi_mhz)
    return np.rint((pulse.time_s + delays) / header.tsamp_s).astype(np.int64) - AROUND


def _add(z: NDArray[np.float32], starts: NDArray[np.int64], series: NDArray[np.float64]) -> None:
    for channel, start in enumerate(starts.tolist()):
        first, last = max(start, 0), min(start + len(series), z.shape[1])
        if first < last:
            series[first - start : last - start] += z[channel, first:last]


def found(source: SkySource | Watched, settings: SearchSettings) -> list[Candidate]:
    plan = Plan.make(settings, source.header, 64)
    engine = Engine(2)
    cleaned = clean(gulps(source.blocks(), plan.gulp), plan.room, plan.baseline, mask=True)
    candidates = [c for s in search(cleaned, plan.search, engine) for c in s.candidates]
    engine.close()
    return candidates


def of_pulse(
    pulse: Pulse, candidates: list[Candidate], header: FilterbankHeader
) -> list[Candidate]:
    """Give the candidates that are at the place of a pulse, the strongest first."""
    width_s = max(pulse.width_ms / 1e3, header.tsamp_s)
    unit_dm = header.tsamp_s / float(delay_s(1.0, header.f_lo_mhz, header.f_hi_mhz))
    most_dm = 3 * unit_dm * (width_s / header.tsamp_s + 4)
    near = [
        c
        for c in candidates
        if abs(c.sample * header.tsamp_s - pulse.time_s) < 2 * width_s + 0.01
        and abs(c.dm - pulse.dm) < most_dm + 0.01 * pulse.dm
    ]
    return sorted(near, key=lambda c: -c.snr)


def test_signal_to_noise(tell: Tell) -> None:
    """300 pulses of a sample to 50 ms, DM 5 to 2000, in 1024 channels of 64 us."""
    header = CASES["standard"].header
    rng = np.random.default_rng(1)
    pulses = tuple(
        Pulse(
            time_s=0.5 + number * 1.0 + rng.uniform(0, 0.3),
            dm=float(np.exp(rng.uniform(np.log(5), np.log(2000)))),
            width_ms=float(np.exp(rng.uniform(np.log(0.064), np.log(50)))),
            snr=float(rng.uniform(12, 40)),
        )
        for number in range(300)
    )
    source = Watched(Sky(header=header, nsamples=round(306 / header.tsamp_s), pulses=pulses))
    for plan in ("quality", "fast"):
        source.series[:] = 0
        candidates = found(source, SearchSettings(plan=plan, dm_max=2000))
        ratios, late, off = [], 0, 0
        for number, pulse in enumerate(pulses):
            near = of_pulse(pulse, candidates, header)
            width = max(pulse.width_ms / 1e3 / header.tsamp_s, 1.0)
            reach = int(2 * width) + 4
            ratios.append(near[0].snr / source.snr(number, reach) if near else 0.0)
            if near:
                smeared = _width_ms(pulse, header) / 1e3 / header.tsamp_s
                late += abs(near[0].sample - pulse.time_s / header.tsamp_s) > smeared
                off += abs(near[0].dm - pulse.dm) > _dm_width(pulse, header)
        tell(
            f"S/N over that of an exact search, {plan}: median {np.median(ratios):.3f}, "
            f"5th percentile {np.percentile(ratios, 5):.3f}, least {min(ratios):.3f}; "
            f"of {len(pulses)}: time off by more than its smeared width {late}, DM by more than "
            f"that of its width {off}, candidates {len(candidates)}"
        )
        assert np.median(ratios) > 0.95


def _width_ms(pulse: Pulse, header: FilterbankHeader) -> float:
    """Width of a pulse with the smearing inside a channel in it, at least a sample."""
    smear_ms = 1e3 * smear_s(pulse.dm, float(header.freqs_mhz.mean()), header.foff_mhz)
    return float(np.hypot(np.hypot(pulse.width_ms, smear_ms), header.tsamp_s * 1e3))


def _dm_width(pulse: Pulse, header: FilterbankHeader) -> float:
    """DM whose sweep of the band is as long as a pulse."""
    width_s = _width_ms(pulse, header) / 1e3
    return width_s / float(delay_s(1.0, header.f_lo_mhz, header.f_hi_mhz))


def test_recall_on_white_noise(tell: Tell) -> None:
    """1000 pulses of S/N 5.5 to 15 in 256 channels of 256 us, 1200 s."""
    header = replace(CASES["small"].header, fch1_mhz=1510.0, foff_mhz=-300 / 256)
    snrs, hits, extra = [], [], 0
    for seed in range(4):
        population = Population(n_pulses=250, snr=(5.5, 15), dm=(5, 900), width_ms=(0.3, 20))
        sky = random_sky(header, 300.0, population, rfi=False, seed=seed)
        settings = SearchSettings(dm_max=1000, threshold=THRESHOLD)
        candidates = found(SkySource(sky), settings)
        taken: set[int] = set()
        for pulse in sky.pulses:
            near = of_pulse(pulse, candidates, header)
            snrs.append(pulse.snr)
            hits.append(bool(near))
            taken |= {id(c) for c in near[:1]}
        extra += sum(id(c) not in taken for c in candidates)
    ideal = sum((1 + erf((snr - THRESHOLD) / 2**0.5)) / 2 for snr in snrs)
    bright = [hit for snr, hit in zip(snrs, hits, strict=True) if snr > 8.5]
    tell(
        f"white noise, threshold {THRESHOLD}: {sum(hits)} of {len(hits)} pulses found, an ideal "
        f"search {ideal:.0f}; above S/N 8.5 {sum(bright)} of {len(bright)}; other candidates "
        f"(noise, or the same pulse again) {extra} in 1200 s"
    )
    assert sum(hits) > 0.98 * ideal
    assert all(bright)


def skies_r() -> Iterator[tuple[Sky, Sky]]:
    """Six skies of 300 s and 50 pulses, without and with interference of seven kinds."""
    header = replace(CASES["small"].header, fch1_mhz=1510.0, foff_mhz=-300 / 256)
    for seed in range(1, 7):
        population = Population(n_pulses=50, snr=(7, 30), dm=(20, 1000), width_ms=(0.3, 20))
        sky = random_sky(header, 300.0, population, rfi=False, seed=seed)
        yield sky, replace(sky, interference=tuple(_interference(sky, seed)), bandpass=0.3)


def test_the_whole_chain_under_interference(tell: Tell) -> None:
    """What the network and the rules make of what the search finds in the disturbed skies."""
    settings = SearchSettings(dm_max=1000, threshold=THRESHOLD)
    network = load_model(ClassifySettings().model, device="cpu")
    pulses_in, searched, kept, false, seconds = 0, 0, 0, 0, 0.0
    with closing(Engine(2)) as engine:
        for _, sky in skies_r():
            plan = Plan.make(settings, sky.header, network.res)
            parts = Parts(SkySource(sky), plan, engine, network, network.card.threshold)
            told = [d for report in pipeline(parts) for d in report.detections]
            every = [d.candidate for d in told]
            pulses = [d.candidate for d in told if d.label == "pulse"]
            pulses_in += len(sky.pulses)
            searched += sum(bool(of_pulse(p, every, sky.header)) for p in sky.pulses)
            kept += sum(bool(of_pulse(p, pulses, sky.header)) for p in sky.pulses)
            true = {id(c) for p in sky.pulses for c in of_pulse(p, pulses, sky.header)}
            false += sum(id(c) not in true for c in pulses)
            seconds += sky.nsamples * sky.header.tsamp_s
    tell(
        f"interference, with {network.name} at {network.card.threshold:.3f}: {kept} of the "
        f"{searched} pulses that the search finds are kept; {false} false ones in {seconds:.0f} s"
    )
    assert searched - kept <= 0.01 * pulses_in
    assert false <= seconds / 600


def test_recall_under_interference(tell: Tell) -> None:
    settings = SearchSettings(dm_max=1000, threshold=THRESHOLD)
    quiet, disturbed, sent = 0, 0, 0
    for sky, noisy in skies_r():
        header = sky.header
        for one in (sky, noisy):
            candidates = found(SkySource(one), settings)
            hits = sum(bool(of_pulse(pulse, candidates, header)) for pulse in sky.pulses)
            if one is sky:
                quiet += hits
            else:
                disturbed += hits
                sent += len(candidates)
    tell(
        f"interference: {disturbed} of 300 pulses found, {quiet} without it; "
        f"{sent / disturbed:.2f} candidates to the network for a pulse"
    )
    assert disturbed > 0.97 * quiet
    assert sent < 5 * disturbed


def _interference(sky: Sky, seed: int) -> Iterator[Interference]:
    """Draw carriers, pulsed signals, zero-DM bursts, gain steps, lost packets, dead channels."""
    rng = np.random.default_rng((seed, 99))
    header, length_s = sky.header, sky.nsamples * sky.header.tsamp_s

    def somewhere(channels: float) -> tuple[float, float]:
        low = rng.uniform(header.f_lo_mhz, header.f_hi_mhz + channels * header.foff_mhz)
        return float(low), float(low - channels * header.foff_mhz)

    def when(most_s: float) -> tuple[float, float]:
        start_s = float(rng.uniform(0, length_s - most_s))
        return start_s, start_s + most_s

    yield Interference("dead", 0.0, np.inf, 0.0, *somewhere(6))
    for _ in range(4):
        yield Interference("carrier", 0.0, np.inf, rng.uniform(0.5, 5), *somewhere(1.5))
        every_s, width_ms = rng.uniform(0.05, 0.5), rng.uniform(1, 20)
        level = rng.uniform(2, 20)
        yield Interference("pulsed", *when(60), level, *somewhere(4), every_s, width_ms)
    for _ in range(20):
        width_s = float(np.exp(rng.uniform(np.log(0.5e-3), np.log(20e-3))))
        snr = float(np.exp(rng.uniform(np.log(10), np.log(300))))
        level = snr / float(np.sqrt(header.nchans * width_s / header.tsamp_s))
        yield Interference("burst", *when(width_s), level)
    for _ in range(6):
        yield Interference("gain", *when(rng.uniform(10, 40)), rng.uniform(0.8, 1.25))
        yield Interference("dropped", *when(rng.uniform(1, 400) * header.tsamp_s))
