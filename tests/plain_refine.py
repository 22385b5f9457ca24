"""The measuring of peaks in plain NumPy: slow, obvious, and what `refine` must equal."""

import numpy as np
from numpy.typing import NDArray

from mlppa.clean import SIGMA, clipped_moments
from mlppa.data import History
from mlppa.dedisperse.oracle import shift_sum
from mlppa.search import SearchPlan
from mlppa.search.refine import (
    GAUSSIAN_MAD,
    LEAST_PRESENT,
    NOISE_CERTAIN,
    NOISE_REACH,
    NOISE_STRETCH,
    SWEEP_TRIALS,
    SWING_CERTAIN,
    SWING_FEWEST,
    SWING_REACH,
    SWING_SHARE,
    SWING_WIDTH,
    WIDTH_TRIALS,
    Peak,
)

type Int32s = NDArray[np.int32]


def strips(history: History, starts: NDArray[np.int64], nsamples: int) -> tuple[Int32s, Int32s]:
    """Give samples, and 1 where they carry signal, shape (nchans, nsamples)."""
    samples, weights = np.zeros((2, len(starts), nsamples), np.int32)
    for gulp in history.gulps:
        for channel in np.flatnonzero(gulp.good):
            begin = int(starts[channel])
            a, b = max(begin, gulp.start), min(begin + nsamples, gulp.stop)
            if a < b:
                here, there = slice(a - begin, b - begin), slice(a - gulp.start, b - gulp.start)
                samples[channel, here] = gulp.samples[channel, there]
                weights[channel, here] = gulp.valid[there]
    return samples, weights


def series(
    history: History, plan: SearchPlan, time: int, sweeps: NDArray[np.float64], nsamples: int
) -> tuple[Int32s, Int32s]:
    """Sum the band up, and how many channels carry signal, shape (nsweeps, nsamples)."""
    delays = np.multiply.outer(sweeps, plan.shape - plan.mean_shape)
    starts = np.floor(time + delays + 0.5).astype(np.int64)
    first = starts.min(axis=0)
    shifts = starts - first
    samples, weights = strips(history, first, nsamples + int(shifts.max()))
    return shift_sum(samples, shifts, nsamples), shift_sum(weights, shifts, nsamples)


def best_peak(
    history: History,
    plan: SearchPlan,
    at: tuple[float, float, int],
    within: tuple[float, float],
) -> Peak | None:
    """Find the best boxcar of all trials, widths and phases."""
    (time, sweep, width), (margin, reach) = at, within
    trials = np.unique(np.rint(sweep + np.linspace(-reach, reach, SWEEP_TRIALS)))
    trials = trials[trials >= 0]
    longest = min(2 * width, plan.max_width)
    widths = np.unique(np.rint(np.geomspace(max(longest / 4, 1), longest, WIDTH_TRIALS)))
    half = int(margin) + 3 * width + 2
    begin = int(np.rint(time)) - half
    sums, cells = series(history, plan, begin, trials, 2 * half + 1)
    full = max(int(np.count_nonzero(history.gulps[-1].good)), 1)
    best: tuple[float, int, int, int] | None = None
    per_trial = np.zeros(len(trials))
    for w in widths.astype(int):
        energy, count = boxcars(sums, w), boxcars(cells, w)
        use = count >= LEAST_PRESENT * full * w
        snr = np.where(use, energy / (SIGMA * np.sqrt(np.maximum(count, 1))), 0)
        middle = np.arange(snr.shape[1]) + (w - 1) / 2
        snr[:, np.abs(middle - half) > margin + width] = 0
        per_trial = np.maximum(per_trial, snr.max(axis=1))
        trial, i = divmod(int(snr.argmax()), snr.shape[1])
        if snr[trial, i] > (best[0] if best else 0):
            best = float(snr[trial, i]), trial, i, int(w)
    if best is None:
        return None
    highest, trial, i, w = best
    return Peak(begin + i + (w - 1) / 2, float(trials[trial]), w, highest, trials, per_trial)


def boxcars(rows: Int32s, width: int) -> NDArray[np.int64]:
    """Sum up ``width`` samples from each on."""
    total = np.concatenate([np.zeros((len(rows), 1)), rows.cumsum(axis=1)], axis=1)
    return np.asarray(total[:, width:] - total[:, :-width], np.int64)


def noise_around(history: History, plan: SearchPlan, peak: Peak) -> float:
    """Give the median noise of short stretches beside the peak; never below 1."""
    slow = peak.width >= SWING_WIDTH * plan.max_width
    half = max(NOISE_REACH, SWING_REACH * peak.width if slow else 0) + 2 * peak.width
    begin = int(np.rint(peak.time)) - half
    sums, cells = series(history, plan, begin, np.array([peak.sweep]), 2 * half + 1)
    off = np.abs(np.arange(2 * half + 1) - half) > 2 * peak.width
    off &= cells[0] >= LEAST_PRESENT * max(int(cells.max()), 1)
    z = (sums[0, off] / (SIGMA * np.sqrt(cells[0, off]))).astype(np.float32)
    stretches = len(z) // NOISE_STRETCH
    if stretches < 4:
        return 1.0
    _, std = clipped_moments(z[: stretches * NOISE_STRETCH].reshape(stretches, NOISE_STRETCH))
    noise = float(np.median(std))
    firsts = range(0, len(z) - peak.width + 1, peak.width)
    beside = np.array([float(z[i : i + peak.width].sum()) / peak.width**0.5 for i in firsts])
    off = np.abs(beside - np.median(beside)) if len(beside) else beside
    swing = GAUSSIAN_MAD * float(np.median(off)) if len(beside) >= SWING_FEWEST and slow else 1.0
    swing = swing if swing > SWING_SHARE * peak.snr else 1.0
    return max(noise if noise > NOISE_CERTAIN else 1.0, swing if swing > SWING_CERTAIN else 1.0)


def snr_zero_dm(history: History, plan: SearchPlan, peak: Peak) -> float:
    """Give the best S/N at DM 0 of boxcars of 1, 2, 4 ... samples."""
    half = max(peak.width, 8)
    begin = int(np.rint(peak.time)) - half
    sums, cells = series(history, plan, begin, np.zeros(1), 2 * half + 1)
    widths = [2**k for k in range(20) if 2**k <= 2 * half + 1]
    return max(
        float((boxcars(sums, w) / (SIGMA * np.sqrt(np.maximum(boxcars(cells, w), 1)))).max())
        for w in widths
    )
