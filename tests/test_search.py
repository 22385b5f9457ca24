"""A pulse put in at t, DM and S/N comes out there, once; noise stays quiet."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from mlppa.data import Block, Candidate, FilterbankHeader
from mlppa.dedisperse import Peaks, Window
from mlppa.dedisperse.engine import Engine
from mlppa.dedisperse.oracle import Oracle
from mlppa.search import search
from mlppa.simulate import Interference, Pulse, Sky, SkySource, match

from .skies import HEADER, PULSES, SETTINGS, SKY, cut, found, plan_for, recorded, searched

ENGINE = Engine()


class Measured:
    """A candidate, as `match` wants it."""

    def __init__(self, candidate: Candidate, header: FilterbankHeader) -> None:
        self.candidate = candidate
        self.time_s = candidate.sample * header.tsamp_s
        self.dm, self.snr = candidate.dm, candidate.snr
        freqs_mhz = header.freqs_mhz[slice(*(candidate.channels or (None,)))]
        self.f_lo_mhz, self.f_hi_mhz = float(freqs_mhz.min()), float(freqs_mhz.max())


def matched(sky: Sky) -> tuple[list[tuple[Pulse, Measured | None]], list[Measured]]:
    return match(sky.pulses, [Measured(c, sky.header) for c in found(sky)], sky.header)


def test_every_pulse_is_found_once_and_nothing_else() -> None:
    pairs, rest = matched(SKY)
    assert rest == []
    for pulse, measured in pairs:
        assert measured is not None, pulse
        candidate = measured.candidate
        # the running baseline takes up to a fifth of a wide pulse of low DM
        assert measured.snr == pytest.approx(pulse.snr, rel=0.2)
        assert abs(measured.dm - pulse.dm) < 4 * candidate.dm_err + 0.5
        assert abs(measured.time_s - pulse.time_s) < max(pulse.width_ms, 2) * 1e-3
        assert candidate.dm_err > 0


def test_signal_to_noise_is_right_on_average() -> None:
    """Maximising over trials adds what noise happens to help: about half a sigma."""
    ratios = []
    for seed in range(6):
        pulses = tuple(
            Pulse(time_s=0.5 + 0.9 * i, dm=40.0 + 55 * i, width_ms=2.0 + i, snr=30.0)
            for i in range(8)
        )
        pairs, _ = matched(Sky(header=HEADER, nsamples=9000, pulses=pulses, seed=seed))
        ratios += [m.snr / p.snr for p, m in pairs if m is not None]
    assert len(ratios) == 48
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.03)
    assert np.percentile(ratios, 5) > 0.9


def test_noise_gives_no_more_false_alarms_than_its_trials() -> None:
    """Independent Gaussian trials above the threshold: count them, and stay below."""
    settings = SETTINGS.model_copy(update={"threshold": 6.0})
    seconds = 60
    sky = Sky(header=HEADER, nsamples=seconds * 1000, seed=11)
    plan = plan_for(HEADER, settings).search
    trials = seconds * 1000 * sum(len(o.sweeps) * 2 for o in plan.octaves)
    expected = trials * math.erfc(6.0 / math.sqrt(2)) / 2
    assert len(found(sky, settings)) <= max(3, 5 * expected)


@pytest.mark.parametrize("nbits", [1, 2, 4, 16, 32])
def test_every_bit_depth_gives_the_same_pulses(nbits: int) -> None:
    # quantised to few levels, noise keeps sqrt(2/pi) (one bit) and 0.88 (two) of the S/N;
    # one bit saturates, too: at these 0.6 sigma a sample it keeps 0.94 of that
    least = {1: 0.637**0.5 * 0.94, 2: 0.88}.get(nbits, 0.97)
    pulses = tuple(
        Pulse(time_s=0.5 + i, dm=50.0 + 60 * i, width_ms=12.0, snr=17.0) for i in range(6)
    )
    sky = Sky(header=replace(HEADER, nbits=nbits), nsamples=7500, pulses=pulses, seed=8)
    pairs, rest = matched(sky)
    assert rest == []
    assert all(measured is not None for _, measured in pairs)
    ratios = [measured.snr / pulse.snr for pulse, measured in pairs if measured is not None]
    assert np.mean(ratios) == pytest.approx(least, abs=0.06)


def test_an_ascending_band_gives_the_same_candidates() -> None:
    up = replace(HEADER, fch1_mhz=HEADER.f_lo_mhz, foff_mhz=-HEADER.foff_mhz)
    for down, ascending in zip(found(SKY), found(replace(SKY, header=up)), strict=True):
        assert ascending.sample == pytest.approx(down.sample, abs=1e-6)
        assert ascending.dm == pytest.approx(down.dm)
        assert ascending.snr == pytest.approx(down.snr, rel=0.02)


def test_a_burst_of_signal_to_noise_500_survives() -> None:
    pulse = Pulse(time_s=1.5, dm=250.0, width_ms=8.0, snr=500.0)
    header = replace(HEADER, nbits=32)  # eight bits would saturate
    pairs, rest = matched(Sky(header=header, nsamples=5000, pulses=(pulse,), seed=3))
    ((_, measured),) = pairs
    assert measured is not None
    assert measured.snr == pytest.approx(500, rel=0.05)
    assert rest == []


def test_a_pulse_of_low_dm_survives() -> None:
    pulse = Pulse(time_s=1.5, dm=8.0, width_ms=2.0, snr=20.0)
    ((_, measured),) = matched(Sky(header=HEADER, nsamples=4000, pulses=(pulse,), seed=3))[0]
    assert measured is not None
    assert measured.dm == pytest.approx(8.0, abs=2)


def test_a_zero_dm_burst_is_as_strong_without_dispersion() -> None:
    burst = Interference(kind="burst", start_s=2.0, stop_s=2.004, level=3.0)
    (candidate,) = found(Sky(header=HEADER, nsamples=4000, interference=(burst,), seed=3))
    assert candidate.snr_zero_dm >= 0.95 * candidate.snr
    assert candidate.dm < 3 * candidate.dm_err + 1


def test_gaps_are_bridged_and_counted() -> None:
    block = recorded(SKY)
    first, _, last = cut(block, [2450, 100])
    items = searched([first, last], HEADER)
    coverage = [item.coverage for item in items]
    assert sum(c.missing for c in coverage) == 100
    assert sum(c.searched for c in coverage) == len(block.spectra) - 100
    dms = [c.dm for item in items for c in item.candidates]
    assert any(abs(dm - 480) < 10 for dm in dms), "this pulse sweeps across the gap"


def test_a_long_gap_is_covered_as_missing() -> None:
    block = recorded(SKY)
    later = Block(100_000, block.spectra[:3000])
    coverage = [i.coverage for i in searched([Block(0, block.spectra[:3000]), later], HEADER)]
    assert sum(c.missing for c in coverage) == 97_000
    assert all(a.stop == b.start for a, b in pairwise(coverage))
    for c in coverage:
        assert c.searched + c.masked + c.missing + c.shed == c.stop - c.start


@pytest.mark.parametrize("gap", [200, 1400, 3000, 500_000])
@pytest.mark.parametrize("last", [3700, 5100])
def test_a_pulse_just_before_a_gap_is_as_good_as_one_at_the_end(gap: int, last: int) -> None:
    block = recorded(SKY)
    alone = searched([Block(0, block.spectra[:last])], HEADER)
    after = Block(last + gap, block.spectra[:2048])
    both = searched([Block(0, block.spectra[:last]), after], HEADER)
    expected, got = (
        [(c.dm, c.snr) for item in items for c in item.candidates if c.sample < last]
        for items in (alone, both)
    )
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        # a pulse that a short gap cuts is measured on both sides of it
        assert one == pytest.approx(other, rel=0.15, abs=3)


def test_what_is_decided_stays_decided() -> None:
    """No candidate arrives before what an earlier coverage declared settled."""
    promised = 0
    items = searched(SkySource(SKY).blocks(), HEADER)
    for item in items:
        assert all(c.sample >= promised for c in item.candidates)
        assert item.coverage.decided_to >= promised
        promised = item.coverage.decided_to
    assert promised == SKY.nsamples


def test_a_pulse_at_the_very_end_is_found_if_its_sweep_is_complete() -> None:
    pulse = PULSES[-1]
    end = round((pulse.time_s + 0.35) / HEADER.tsamp_s)  # its sweep takes 0.33 s
    (block,) = cut(recorded(SKY), [end])[:1]
    dms = [c.dm for item in searched([block], HEADER) for c in item.candidates]
    assert any(abs(dm - pulse.dm) < 5 for dm in dms)


def test_the_oracle_finds_what_the_kernel_finds() -> None:
    plan = plan_for(HEADER)
    from mlppa.clean import clean
    from mlppa.gulps import gulps

    class AsTheTree(Oracle):
        def __call__(self, windows: Sequence[Window]) -> list[Peaks]:
            return [Oracle(ENGINE.trees(w.octave))([w])[0] for w in windows]

    block = cut(recorded(SKY), [3000])[0]
    cleaned = list(clean(gulps([block], plan.gulp), plan.room, plan.baseline))
    slow = [c for item in search(cleaned, plan.search, AsTheTree()) for c in item.candidates]
    assert slow == [c for item in searched([block], HEADER) for c in item.candidates]
    assert len(slow) == 2
