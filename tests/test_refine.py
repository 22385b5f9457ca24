"""Measuring equals its plain counterpart, whatever is missing around a peak."""

import sys
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlppa.data import Candidate, CleanGulp, FilterbankHeader, History
from mlppa.dedisperse import oracle
from mlppa.dedisperse.exact import band_sum, pixels, shift_sum_int8, strips
from mlppa.search import SearchPlan
from mlppa.search.cluster import TRIGGER
from mlppa.search.refine import refine

from . import plain_refine
from .skies import plan_for

NCHANS, GULP = 37, 2048
HEADER = FilterbankHeader(
    nchans=NCHANS, fch1_mhz=1500.0, foff_mhz=-8.0, tsamp_s=1e-3, tstart_mjd=60000.0, nbits=8
)
PLAN: SearchPlan = plan_for(HEADER).search
MODULE = sys.modules[refine.__module__]
DELAYS = PLAN.shape - PLAN.mean_shape


def history(seed: int, *, holes: bool, masks: bool) -> History:
    """Three gulps of noise with a bright pulse at the mean time of 3000 and a sweep of 200."""
    rng = np.random.default_rng(seed)
    gulps = []
    for start in range(0, 3 * GULP, GULP):
        samples = np.rint(rng.normal(0, 4, (NCHANS, GULP)))
        for channel, at in enumerate(np.rint(3000 + 200 * DELAYS).astype(int) - start):
            samples[channel, max(at - 6, 0) : max(at + 6, 0)] += 9
        good, valid = np.ones(NCHANS, np.bool_), np.ones(GULP, np.bool_)
        if masks:
            good = rng.random(NCHANS) > 0.3
        if holes:
            at = int(rng.integers(0, GULP))
            valid[at : at + int(rng.integers(1, 400))] = False
        samples *= good[:, None] * valid
        rows = samples.clip(-127, 127).astype(np.int8)
        gulps.append(CleanGulp(start, rows, good, valid, start, start + GULP))
    return History(tuple(gulps))


def plainly(trigger: np.void, past: History, monkeypatch: pytest.MonkeyPatch) -> Candidate | None:
    with monkeypatch.context() as patch:
        for part in ("best_peak", "noise_around", "snr_zero_dm"):
            patch.setattr(MODULE, part, getattr(plain_refine, part))
        return refine(trigger, past, PLAN)


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_measuring_equals_its_plain_counterpart(
    holes: bool, masks: bool, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    past, rng = history(seed, holes=holes, masks=masks), np.random.default_rng(seed)
    compared = 0
    for width, slack in ((2, 64), (14, 64), (28, 128), (56, 0)):
        # on the pulse, beside it, and over the edge of the data
        for time in (3000, 3000 + rng.uniform(-60, 60), rng.uniform(-50, 50), 3 * GULP - 20):
            sweep = max(200 + rng.uniform(-30, 30), 0)
            peak = (time, sweep, width, slack, 8, 10.0)
            trigger = np.array([peak], TRIGGER)[0]
            measured = refine(trigger, past, PLAN)
            plain = plainly(trigger, past, monkeypatch)
            if measured is None or plain is None:
                assert measured is plain
                continue
            compared += 1
            one, other = asdict(measured), asdict(plain)
            assert one.pop("channels") is other.pop("channels") is None, "all of the band"
            assert one.pop("listed") == other.pop("listed") == ()
            assert one == pytest.approx(other, rel=1e-9)
    assert compared >= 10


def test_the_pulse_is_measured_where_it_is() -> None:
    trigger = np.array([(3010, 190, 14, 64, 8, 10.0)], TRIGGER)[0]
    candidate = refine(trigger, history(1, holes=False, masks=False), PLAN)
    assert candidate is not None
    assert candidate.dm == pytest.approx(200 * PLAN.unit_dm, abs=3 * PLAN.unit_dm)
    assert candidate.width_samples in range(11, 14)
    assert candidate.snr == pytest.approx(9 / 4 * np.sqrt(12 * NCHANS), rel=0.1)


@settings(deadline=None, max_examples=50)
@given(nchans=st.integers(1, 600), nout=st.integers(1, 90), seed=st.integers(0, 2**32 - 1))
def test_sums_of_int8_equal_the_oracle(nchans: int, nout: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.choice(np.array([-128, -127, 3, 127], np.int8), (nchans, nout + 20))
    rows[:, :5] = rng.choice(np.array([-128, 127], np.int8))  # the largest sums there are
    shifts = rng.integers(0, 21, (3, nchans))
    np.testing.assert_array_equal(
        shift_sum_int8(rows, shifts, nout), oracle.shift_sum(rows, shifts, nout)
    )


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("begin", [-300, 1500, 2100, 3 * GULP - 100])
def test_strips_pixels_and_band_sums_equal_the_plain_ones(
    holes: bool, masks: bool, begin: int
) -> None:
    past = history(3, holes=holes, masks=masks)
    starts = begin + np.arange(NCHANS) * 7
    samples, weights = plain_refine.strips(past, starts, 512)
    cut = strips(past, starts, 512)
    np.testing.assert_array_equal(cut.samples, samples[cut.channels])
    if cut.weights is None:
        assert weights[cut.channels].all()
        assert weights.sum() == 512 * len(cut.channels), "no other channel has a signal"
    else:
        np.testing.assert_array_equal(cut.weights, weights[cut.channels])
    for pixel in (1, 8, 64):
        sums, cells = pixels(past, starts, 512 // pixel, pixel)
        np.testing.assert_array_equal(sums, samples.reshape(NCHANS, -1, pixel).sum(axis=2))
        counted = weights.reshape(NCHANS, -1, pixel).sum(axis=2)
        np.testing.assert_array_equal(pixel if cells is None else cells, counted)
    total, count = band_sum(past, starts, 512)
    np.testing.assert_array_equal(total, samples.sum(axis=0))
    np.testing.assert_array_equal(count, weights.sum(axis=0))
