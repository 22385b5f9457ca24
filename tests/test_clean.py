"""Clean rows have equal noise, keep pulses, and leave out what is not sky."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlppa.clean import (
    SIGMA,
    TILE,
    Arithmetic,
    Room,
    Wanted,
    clean,
    clean_by,
    clipped_moments,
    fast,
    plain,
)
from mlppa.clean.baseline import Reference, Stretch
from mlppa.data import Block, CleanGulp, Gulp
from mlppa.gulps import gulps
from mlppa.search.resolutions import Resolutions

NCHANS, GULP = 64, 2048


def noise(nsamples: int = GULP, seed: int = 1) -> NDArray[np.float32]:
    """Return spectra with a bandpass: every channel has its own level and scale."""
    rng = np.random.default_rng(seed)
    scale = np.linspace(1, 3, NCHANS, dtype=np.float32)
    return rng.standard_normal((nsamples, NCHANS), np.float32) * scale + 50 * scale


def cleaned(
    spectra: NDArray[np.float32], *, baseline: int = 0, mask: bool = True
) -> list[CleanGulp]:
    return list(clean(gulps([Block(0, spectra)], GULP), Room(), baseline, mask=mask))


def test_every_channel_and_octave_has_the_same_noise() -> None:
    (gulp,) = cleaned(noise())
    assert gulp.good.all()
    assert gulp.valid.all()
    for octave in Resolutions([0, 0, 0]).windows(gulp):
        assert octave.shape[0] == NCHANS
        np.testing.assert_allclose(octave.mean(axis=1), 0, atol=0.15)
        np.testing.assert_allclose(octave.std(axis=1), SIGMA, rtol=0.15)
    assert gulp.samples.std() == pytest.approx(SIGMA, rel=0.01)


def test_a_burst_does_not_set_the_scale() -> None:
    spectra = noise()
    delays = np.arange(NCHANS) * 3
    spectra[500 + delays, np.arange(NCHANS)] += 25 * np.linspace(1, 3, NCHANS)
    (gulp,) = cleaned(spectra)
    assert gulp.good.all()
    burst = gulp.samples[np.arange(NCHANS), 500 + delays] / SIGMA
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
    assert (gulp.samples[:, 100:110] == 0).all()
    assert gulp.samples[7, 300] == 0
    assert gulp.samples[9, 5] == 0
    assert not gulp.valid[100:110].any()
    assert gulp.valid.sum() == GULP - 10


@pytest.mark.parametrize("value", [1e6, 1e12, 1e17, 3e38])
def test_absurd_values_stay_alone(value: float) -> None:
    spectra = noise()
    spectra[800, 11] = value
    spectra[:, 12] = 0
    spectra[900, 12] = value
    (gulp,) = cleaned(spectra, baseline=200)
    assert np.flatnonzero(~gulp.good).tolist() == [12]
    others = np.delete(gulp.samples[11], 800)
    assert others.std() == pytest.approx(SIGMA, rel=0.06)
    assert others.mean() == pytest.approx(0, abs=0.15)


@pytest.mark.parametrize("value", [0.0, 17.0])
def test_dropped_packets_are_masked_and_leave_the_statistics_alone(value: float) -> None:
    spectra = noise()
    spectra[1000:1600] = value
    (gulp,) = cleaned(spectra)
    assert not gulp.valid[1000:1600].any()
    assert gulp.valid.sum() == GULP - 600
    assert (gulp.samples[:, 1000:1600] == 0).all()
    assert gulp.samples[:, :1000].std() == pytest.approx(SIGMA, rel=0.01)


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
    (gulp,) = clean(gulps([block], GULP), Room(), 0)
    assert not gulp.valid.any()
    assert not gulp.samples.any()


def test_a_gain_step_leaves_no_trace_but_a_pulse_stays() -> None:
    spectra = noise(4 * GULP)
    scale = np.linspace(1, 3, NCHANS, dtype=np.float32)
    spectra[3000:] += scale  # one deviation in every channel: S/N 8 a sample in the band
    spectra[5000:5020] += 1.5 * scale  # a pulse of DM 0, 20 samples
    flat = cleaned(spectra, baseline=400)
    band = np.concatenate([g.samples.sum(axis=0) for g in flat]) / (SIGMA * 8)
    means = [band[a : a + 200].mean() for a in (2000, 2700, 3010, 3400, 4500)]
    np.testing.assert_allclose(means, 0, atol=0.5)
    assert band[5000:5020].mean() == pytest.approx(12, rel=0.05)
    kept = cleaned(spectra, baseline=0)
    steps = np.concatenate([g.samples.sum(axis=0) for g in kept]) / (SIGMA * 8)
    assert steps[3010:3210].mean() - steps[2700:2900].mean() > 5


def test_padding_is_masked_not_missing() -> None:
    valid = np.ones(GULP, np.bool_)
    valid[1500:] = False
    spectra = noise()
    spectra[1500:] = 0
    (gulp,) = clean(gulps([Block(0, spectra, valid)], GULP), Room(), 0)
    assert gulp.missing == 0
    assert gulp.valid.sum() == 1500
    assert gulp.samples[:, :1500].std() == pytest.approx(SIGMA, rel=0.01)


def test_a_short_tail_is_judged_by_the_gulp_before() -> None:
    first, tail = cleaned(noise(GULP + 30))
    np.testing.assert_array_equal(tail.good, first.good)
    assert tail.samples[:, :30].std() == pytest.approx(SIGMA, rel=0.1)
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


def test_an_empty_stream_gives_nothing() -> None:
    assert cleaned(noise(0)) == []


def test_gulps_are_told_apart_by_their_gaps() -> None:
    spectra = noise(3 * GULP)
    blocks = [Block(0, spectra[:1000]), Block(1500, spectra[1500:])]
    first, *_ = clean(gulps(blocks, GULP), Room(), 0)
    assert first.missing == 500
    assert first.valid.sum() == GULP - 500
    replaced = replace(first, missing=0)
    assert replaced.stop == GULP


@dataclass(frozen=True)
class Sight:
    """Two gulps of anything: noise of some number type, and what may be wrong with it."""

    seed: int
    nchans: int
    tiles: int
    dtype: str
    level: float
    step: float
    bad: frozenset[str]

    def gulps(self) -> list[Gulp]:
        rng = np.random.default_rng(self.seed)
        nsamples = self.tiles * TILE
        x = self.level + 7 * rng.standard_normal((2 * nsamples, self.nchans))
        x[rng.integers(2 * nsamples) :] += self.step
        where = rng.integers(2 * nsamples, size=9)
        if "dead" in self.bad:
            x[:, rng.integers(self.nchans)] = 11
        if "dropped" in self.bad:
            x[where[0] : where[0] + 99] = 0
        if "carrier" in self.bad:
            x[:, rng.integers(self.nchans)] += 30 * (np.arange(2 * nsamples) // 16 % 2)
        dtype = np.dtype(self.dtype)
        if dtype.kind in "iu":
            x = np.clip(np.rint(x), np.iinfo(dtype).min, np.iinfo(dtype).max)
        elif "not numbers" in self.bad:
            x[where, rng.integers(self.nchans, size=9)] = [np.nan, np.inf, -np.inf] * 3
            x[where[0] - 1] = np.nan
        valid = rng.random(2 * nsamples) < (0.9 if "gaps" in self.bad else 2)
        blocks = [Block(0, x.astype(dtype), valid)]
        return list(gulps(blocks, nsamples))


SIGHTS = st.builds(
    Sight,
    seed=st.integers(0, 2**32),
    nchans=st.integers(1, 45),
    tiles=st.integers(1, 40),
    dtype=st.sampled_from(["u1", "i1", "u2", "i2", "f4", "f8", "i4", ">f4", ">i2"]),
    level=st.sampled_from([-60.0, 0.0, 50.0, 250.0]),
    step=st.sampled_from([0.0, 0.0, 5.0, -40.0]),
    bad=st.frozensets(st.sampled_from(["dead", "dropped", "carrier", "not numbers", "gaps"])),
)


#: A channel of zeros, but for a single 1 and some of a carrier: it has no noise.
DEAD_BUT_FOR_ONE = Sight(
    seed=90,
    nchans=24,
    tiles=39,
    dtype="u1",
    level=-60.0,
    step=5.0,
    bad=frozenset({"dropped", "dead", "carrier"}),
)

#: One channel of few values: the levels before and after a sample are often as close to it.
TIES = Sight(seed=1, nchans=1, tiles=25, dtype="u1", level=50.0, step=-40.0, bad=frozenset())


@settings(deadline=None, max_examples=60)
@example(DEAD_BUT_FOR_ONE, 0, False, 0)
@example(TIES, 30, False, 0)
@given(
    SIGHTS,
    st.sampled_from([0, 30, 501]),
    st.booleans(),
    st.sampled_from([0, 100]),
)
def test_fast_arithmetic_gives_what_plain_numpy_gives(
    sight: Sight, baseline: int, mask: bool, halo: int
) -> None:
    def by(arithmetic: Arithmetic) -> list[CleanGulp]:
        return list(clean_by(arithmetic, sight.gulps(), Wanted(Room(halo), baseline, mask)))

    for quick, oracle in zip(by(fast), by(plain), strict=True):
        np.testing.assert_array_equal(quick.good, oracle.good)
        np.testing.assert_array_equal(quick.valid, oracle.valid)
        np.testing.assert_allclose(quick.samples.astype(int), oracle.samples.astype(int), atol=1)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 400), st.sampled_from([1, 9]))
def test_running_median(seed: int, length: int, window: int, levels: int) -> None:
    series = np.random.default_rng(seed).standard_normal(length).astype(np.float32)
    series = (np.rint(series * levels) / levels).astype(np.float32)  # with few most are equal
    series[length // 3 :] += 5
    window = min(window, length) | 1
    np.testing.assert_array_equal(
        fast.running_median(series, window), plain.running_median(series, window)
    )


@pytest.mark.parametrize(("noise_levels", "most"), [(0.5, 1), (1, 3), (2, 15), (10, 255)])
def test_channels_have_zero_mean_however_few_bits_they_have(noise_levels: float, most: int) -> None:
    """Neither rounding nor judging by a part of a long gulp leaves an offset."""
    rng = np.random.default_rng(6)
    level = most / 2 + 0.3 * rng.standard_normal(32)
    x = level + noise_levels * rng.standard_normal((2**15, 32))
    spectra = np.clip(np.rint(x), 0, most).astype(np.uint8)
    (gulp,) = clean(gulps([Block(0, spectra)], len(spectra)), Room(), 0)
    assert gulp.good.all()
    # a sixteenth of the samples would give 0.02, rounding alone up to 0.12
    assert np.abs(gulp.samples.mean(axis=1) / SIGMA).max() < 0.003


def test_a_gulp_that_is_not_made_of_tiles_is_refused() -> None:
    with pytest.raises(ValueError, match="whole tiles"):
        list(clean(gulps([Block(0, noise(100))], 100), Room(), 0))


def test_spectra_are_left_as_they_came() -> None:
    spectra = noise(GULP)
    spectra[5:9] = np.nan
    before = spectra.copy()
    cleaned(spectra, baseline=100)
    np.testing.assert_array_equal(spectra, before)


@pytest.mark.parametrize("at", [4 * GULP // 2 - 3, 2 * GULP + 50, 2 * GULP + 700])
def test_a_gain_step_is_followed_at_the_edge_of_a_gulp_too(at: int) -> None:
    spectra = noise(4 * GULP)
    spectra[at:] += np.linspace(1, 3, NCHANS, dtype=np.float32)
    flat = cleaned(spectra, baseline=800)
    band = np.concatenate([g.samples.sum(axis=0) for g in flat]) / (SIGMA * 8)
    # the best boxcar of 100 samples anywhere, where the step alone gives 80
    sums = np.convolve(band, np.ones(100), "valid") / 10
    assert np.abs(sums).max() < 9


@pytest.mark.parametrize("kind", ["none", "drift", "steps", "wake", "constant"])
def test_the_reference_is_kept_as_long_as_it_fits(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the level does over many gulps, the band stays flat; quiet noise costs least."""
    taken = []

    def of(arithmetic: Arithmetic, gulp: Stretch) -> Reference:
        taken.append(gulp.spectra.shape[1] == NCHANS)
        return measure(arithmetic, gulp)

    measure = Reference.of
    monkeypatch.setattr(Reference, "of", of)
    ngulps, length = 20, 4 * GULP
    spectra = noise(ngulps * length)
    scale = np.linspace(1, 3, NCHANS, dtype=np.float32)
    time = np.arange(ngulps * length, dtype=np.float32)[:, None]
    if kind == "drift":
        spectra += 3 * time / len(time) * scale
    if kind == "steps":
        spectra += (time // 20000 % 2) * scale
    if kind == "wake":
        spectra[: 5 * length, ::2] = 0
        spectra[8 * length + 700 :] += scale
    if kind == "constant":
        spectra[: 2 * length] = scale
        spectra[5 * length + 700 :] += scale
    flat = list(clean(gulps([Block(0, spectra)], length), Room(), length))
    assert (sum(taken) == 2) == (kind == "none"), "at the start, and renewed once"
    band = np.concatenate([g.samples.sum(axis=0) for g in flat]) / (SIGMA * 8)
    sums = np.convolve(band, np.ones(100), "valid") / 10
    assert np.abs(sums).max() < 9, "where a step alone gives 80"


@pytest.mark.parametrize("kind", ["dead", "nan", "jump"])
def test_a_few_channels_that_change_are_used_again_at_once(kind: str) -> None:
    nchans, some, length = 512, slice(100, 112), 8 * GULP  # in short gulps no peak stands out
    rng = np.random.default_rng(4)
    spectra = 50 + rng.standard_normal((3 * length, nchans), np.float32)
    if kind == "jump":
        spectra[length:, some] += 10
    else:
        spectra[:length, some] = 0 if kind == "dead" else np.nan
    first, *others = clean(gulps([Block(0, spectra)], length), Room(), length)
    assert first.good[some].all() == (kind == "jump")
    assert all(gulp.good[some].all() for gulp in others)


def test_a_bright_pulse_is_no_change_of_gain() -> None:
    spectra = noise(4 * GULP)
    scale = np.linspace(1, 3, NCHANS, dtype=np.float32)
    for channel in range(NCHANS):  # 8 samples long, swept over 1000
        first = 3000 + 16 * channel
        spectra[first : first + 8, channel] += 12 * scale[channel]
    rows = np.concatenate([g.samples for g in cleaned(spectra, baseline=1200)], axis=1)
    height = [rows[c, 3000 + 16 * c : 3008 + 16 * c].mean() / SIGMA for c in range(NCHANS)]
    assert np.mean(height) == pytest.approx(12, rel=0.02)


def test_channels_with_bursts_of_interference_are_masked() -> None:
    spectra = noise()
    spectra[::40, 17:20] += 14 * np.linspace(1, 3, NCHANS, dtype=np.float32)[17:20]
    (gulp,) = cleaned(spectra)
    assert np.flatnonzero(~gulp.good).tolist() == [17, 18, 19]


def test_rare_pulses_in_few_channels_are_masked() -> None:
    spectra = noise()
    for start in (150, 700, 1400):
        spectra[start : start + 8, 40:43] += 8 * np.linspace(1, 3, NCHANS)[40:43]
    (gulp,) = cleaned(spectra)
    assert np.flatnonzero(~gulp.good).tolist() == [40, 41, 42]
    (gulp,) = cleaned(spectra, mask=False)
    assert gulp.good.all()


@pytest.mark.parametrize("width", [4, 32])
@pytest.mark.parametrize("top", [NCHANS // 3, NCHANS])
def test_a_bright_burst_keeps_its_channels_to_the_edge_of_its_band(width: int, top: int) -> None:
    spectra = noise()
    rng = np.random.default_rng(width)
    # S/N 500 in all, with the ragged spectrum of scintillation
    strength = 500 / np.sqrt(top * width) * rng.gamma(4, 0.25, top)
    for channel in range(top):
        start = 300 + 9 * channel
        scale = 1 + 2 * channel / (NCHANS - 1)
        spectra[start : start + width, channel] += strength[channel] * scale
    (gulp,) = cleaned(spectra)
    assert np.count_nonzero(~gulp.good) <= NCHANS // 16
    assert strength[gulp.good[:top]].sum() > 0.9 * strength.sum()
