"""Clean rows have equal noise, keep pulses, and leave out what is not sky."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mlppa.clean import SIGMA, clean, clipped_moments, decimate
from mlppa.data import Block, CleanGulp
from mlppa.gulps import gulps

NCHANS, GULP = 64, 2048


def noise(nsamples: int = GULP, seed: int = 1) -> NDArray[np.float32]:
    """Return spectra with a bandpass: every channel has its own level and scale."""
    rng = np.random.default_rng(seed)
    scale = np.linspace(1, 3, NCHANS, dtype=np.float32)
    return rng.standard_normal((nsamples, NCHANS), np.float32) * scale + 50 * scale


def cleaned(
    spectra: NDArray[np.float32], *, baseline: int = 0, mask: bool = True
) -> list[CleanGulp]:
    return list(clean(gulps([Block(0, spectra)], GULP), 3, baseline, mask=mask))


def test_every_channel_and_octave_has_the_same_noise() -> None:
    (gulp,) = cleaned(noise())
    assert gulp.good.all()
    assert gulp.valid.all()
    for octave in gulp.octaves:
        assert octave.shape[0] == NCHANS
        np.testing.assert_allclose(octave.mean(axis=1), 0, atol=0.15)
        np.testing.assert_allclose(octave.std(axis=1), SIGMA, rtol=0.15)
    assert gulp.octaves[0].std() == pytest.approx(SIGMA, rel=0.01)


def test_a_burst_does_not_set_the_scale() -> None:
    spectra = noise()
    delays = np.arange(NCHANS) * 3
    spectra[500 + delays, np.arange(NCHANS)] += 25 * np.linspace(1, 3, NCHANS)
    (gulp,) = cleaned(spectra)
    assert gulp.good.all()
    burst = gulp.octaves[0][np.arange(NCHANS), 500 + delays] / SIGMA
    assert burst.mean() == pytest.approx(25, rel=0.03)


def test_nan_and_infinity_are_left_out() -> None:
    spectra = noise()
    spectra[100:110] = np.nan
    spectra[300, 7] = np.inf
    spectra[:, 20] = np.inf
    spectra[5, 9] = -np.inf
    (gulp,) = cleaned(spectra)
    assert not gulp.good[20]
    assert gulp.good.sum() == NCHANS - 1
    assert (gulp.octaves[0][:, 100:110] == 0).all()
    assert gulp.octaves[0][7, 300] == 0
    assert gulp.octaves[0][9, 5] == 0
    assert not gulp.valid[100:110].any()
    assert gulp.valid.sum() == GULP - 10


@pytest.mark.parametrize("value", [0.0, 17.0])
def test_dropped_packets_are_masked_and_leave_the_statistics_alone(value: float) -> None:
    spectra = noise()
    spectra[1000:1600] = value
    (gulp,) = cleaned(spectra)
    assert not gulp.valid[1000:1600].any()
    assert gulp.valid.sum() == GULP - 600
    assert (gulp.octaves[0][:, 1000:1600] == 0).all()
    assert gulp.octaves[0][:, :1000].std() == pytest.approx(SIGMA, rel=0.01)


def test_dead_channels_are_masked() -> None:
    spectra = noise()
    spectra[:, 3] = 0
    spectra[:, 40] = 9
    (gulp,) = cleaned(spectra, mask=False)
    assert np.flatnonzero(~gulp.good).tolist() == [3, 40]


def test_channels_that_stand_out_are_masked_if_wanted() -> None:
    spectra = noise()
    rng = np.random.default_rng(2)
    spectra[:, 12] *= 1 + rng.standard_normal(GULP)  # far too noisy
    switched = np.repeat(rng.integers(0, 2, GULP // 8), 8)
    spectra[:, 30] += 3 * switched  # a carrier that goes on and off
    (gulp,) = cleaned(spectra)
    assert {12, 30} <= set(np.flatnonzero(~gulp.good))
    assert gulp.good.sum() >= NCHANS - 4
    (gulp,) = cleaned(spectra, mask=False)
    assert gulp.good.all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.float32])
def test_all_constant_data_are_masked(dtype: type[np.generic]) -> None:
    block = Block(0, np.full((GULP, NCHANS), 100).astype(dtype))
    (gulp,) = clean(gulps([block], GULP), 1, 0)
    assert not gulp.valid.any()
    assert not gulp.octaves[0].any()


def test_a_gain_step_leaves_no_trace_but_a_pulse_stays() -> None:
    spectra = noise(4 * GULP)
    scale = np.linspace(1, 3, NCHANS, dtype=np.float32)
    spectra[3000:] += scale  # one deviation in every channel: S/N 8 a sample in the band
    spectra[5000:5020] += 1.5 * scale  # a pulse of DM 0, 20 samples
    flat = cleaned(spectra, baseline=400)
    band = np.concatenate([g.octaves[0].sum(axis=0) for g in flat]) / (SIGMA * 8)
    means = [band[a : a + 200].mean() for a in (2000, 2700, 3010, 3400, 4500)]
    np.testing.assert_allclose(means, 0, atol=0.5)
    assert band[5000:5020].mean() == pytest.approx(12, rel=0.05)
    kept = cleaned(spectra, baseline=0)
    steps = np.concatenate([g.octaves[0].sum(axis=0) for g in kept]) / (SIGMA * 8)
    assert steps[3010:3210].mean() - steps[2700:2900].mean() > 5


def test_padding_is_masked_not_missing() -> None:
    valid = np.ones(GULP, np.bool_)
    valid[1500:] = False
    spectra = noise()
    spectra[1500:] = 0
    (gulp,) = clean(gulps([Block(0, spectra, valid)], GULP), 1, 0)
    assert gulp.missing == 0
    assert gulp.valid.sum() == 1500
    assert gulp.octaves[0][:, :1500].std() == pytest.approx(SIGMA, rel=0.01)


def test_a_short_tail_is_judged_by_the_gulp_before() -> None:
    first, tail = cleaned(noise(GULP + 30))
    np.testing.assert_array_equal(tail.good, first.good)
    assert tail.octaves[0][:, :30].std() == pytest.approx(SIGMA, rel=0.1)
    assert tail.valid.sum() == 30


def test_a_few_samples_alone_tell_nothing() -> None:
    (gulp,) = cleaned(noise(20))
    assert not gulp.valid.any()


def test_moments_of_clipped_noise_are_not_biased() -> None:
    rows = np.random.default_rng(3).normal(7, 2, (50, 20000)).astype(np.float32)
    rows[:, ::1000] = 1e6
    mean, std = clipped_moments(rows)
    assert mean.mean() == pytest.approx(7, abs=0.01)
    assert std.mean() == pytest.approx(2, rel=0.002)


def test_large_levels_keep_their_noise() -> None:
    """The variance of 32-bit samples is not lost beside their level."""
    rng = np.random.default_rng(4)
    rows = (1e6 + rng.normal(0, 30, (4, 8192))).astype(np.float32)
    _, std = clipped_moments(rows)
    assert std.mean() == pytest.approx(30, rel=0.02)


def test_decimation_keeps_sums() -> None:
    rows = np.random.default_rng(5).integers(-20, 21, (4, 64)).astype(np.int8)
    _, half, quarter = decimate(rows, 3)
    pairs = rows.reshape(4, 32, 2).sum(axis=2)
    fours = rows.reshape(4, 16, 4).sum(axis=2)
    np.testing.assert_allclose(half, pairs / np.sqrt(2), atol=0.51)
    np.testing.assert_allclose(quarter, fours / 2, atol=0.51)


def test_an_empty_stream_gives_nothing() -> None:
    assert cleaned(noise(0)) == []


def test_gulps_are_told_apart_by_their_gaps() -> None:
    spectra = noise(3 * GULP)
    blocks = [Block(0, spectra[:1000]), Block(1500, spectra[1500:])]
    first, *_ = clean(gulps(blocks, GULP), 1, 0)
    assert first.missing == 500
    assert first.valid.sum() == GULP - 500
    replaced = replace(first, missing=0)
    assert replaced.stop == GULP
