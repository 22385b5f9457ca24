"""Measure a peak exactly: S/N, DM, time and width from the full-resolution samples."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..clean import SIGMA, clipped_moments
from ..data import Candidate, History

if TYPE_CHECKING:
    from . import SearchPlan

#: Trial DMs and widths of one round of refinement.
SWEEP_TRIALS = 33
WIDTH_TRIALS = 17

#: Samples on either side from which the noise is measured.
NOISE_REACH = 1024

#: ... in stretches of this many; their median is certain to a few percent, so that less
#: than NOISE_CERTAIN is no evidence that channels share noise.
NOISE_STRETCH = 128
NOISE_CERTAIN = 1.05

#: A boxcar counts if at least this part of its cells carries signal: a pulse cut by
#: the edge of the data is measured on what is there, but not on a few channels.
LEAST_PRESENT = 0.5


@dataclass(frozen=True, slots=True)
class _Peak:
    time: float  # middle of the boxcar at the band's mean delay, in samples
    sweep: float
    width: int
    snr: float
    sweeps: NDArray[np.float64]  # trials and their best S/N, for the error of the DM
    snrs: NDArray[np.float64]


def refine(trigger: Any, history: History, plan: "SearchPlan") -> Candidate | None:
    """Give the exact candidate behind a raw peak, or None where too little data remain.

    Trials around the peak are dedispersed by brute force at full resolution and
    matched with boxcars of every phase, moving on while the maximum lies at the edge.
    """
    time, sweep = float(trigger["time"]), float(trigger["sweep"])
    width, margin = int(trigger["width"]), float(trigger["slack"])
    reach = max(2.0 * width, float(trigger["span"]), 4.0)
    peak = None
    for _ in range(6):
        peak = _best(history, plan, (time, sweep, width), (margin, reach))
        if peak is None:
            return None
        at_edge = peak.sweep in (peak.sweeps[0], peak.sweeps[-1]) and peak.sweep > 0
        if not at_edge and peak.width < min(2 * width, plan.max_width):
            break
        time, sweep, width, margin = peak.time, peak.sweep, peak.width, float(peak.width)
        reach = max(2.0 * width, 4.0)
    assert peak is not None
    noise = _noise(history, plan, peak)
    return Candidate(
        sample=peak.time - plan.mean_shape * peak.sweep,
        dm=peak.sweep * plan.unit_dm,
        dm_err=_sweep_error(peak) * plan.unit_dm,
        width_samples=peak.width,
        snr=peak.snr / noise,
        snr_zero_dm=_snr_zero_dm(history, plan, peak) / noise,
        octave=plan.image_octave(peak.width),
    )


def channel_starts(
    plan: "SearchPlan", time: float, sweeps: NDArray[np.float64]
) -> NDArray[np.int64]:
    """First sample of every channel for series that begin at ``time`` at the mean delay.

    Returns
    -------
    starts
        Shape (nsweeps, nchans).
    """
    delays = np.multiply.outer(sweeps, plan.shape - plan.mean_shape)
    return np.floor(time + delays + 0.5).astype(np.int64)


def series(
    history: History, plan: "SearchPlan", time: int, sweeps: NDArray[np.float64], nsamples: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Dedisperse exactly.

    Returns
    -------
    sums
        Band sums in counts, shape (nsweeps, nsamples), the first one at ``time`` at the
        mean delay.
    cells
        How many channels contributed to each, same shape.
    """
    from ..dedisperse.exact import shift_sum, strips

    starts = channel_starts(plan, time, sweeps)
    first = starts.min(axis=0)
    shifts = starts - first
    samples, weights = strips(history, first, nsamples + int(shifts.max()))
    return shift_sum(samples, shifts, nsamples), shift_sum(weights, shifts, nsamples)


def _best(
    history: History,
    plan: "SearchPlan",
    at: tuple[float, float, int],
    within: tuple[float, float],
) -> _Peak | None:
    (time, sweep, width), (margin, reach) = at, within
    trials = np.unique(np.rint(sweep + np.linspace(-reach, reach, SWEEP_TRIALS)))
    trials = trials[trials >= 0]
    longest = min(2 * width, plan.max_width)
    widths = np.unique(np.rint(np.geomspace(max(longest / 4, 1), longest, WIDTH_TRIALS)))
    half = int(margin) + 3 * width + 2
    begin = int(np.rint(time)) - half
    sums, cells = series(history, plan, begin, trials, 2 * half + 1)
    zero = np.zeros((len(trials), 1), np.int64)
    total = np.concatenate([zero, sums.cumsum(axis=1, dtype=np.int64)], axis=1)
    present = np.concatenate([zero, cells.cumsum(axis=1, dtype=np.int64)], axis=1)
    full = max(int(np.count_nonzero(history.gulps[-1].good)), 1)
    best: tuple[float, int, int, int] | None = None
    per_trial = np.zeros(len(trials))
    for w in widths.astype(int):
        energy, count = total[:, w:] - total[:, :-w], present[:, w:] - present[:, :-w]
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
    return _Peak(begin + i + (w - 1) / 2, float(trials[trial]), w, highest, trials, per_trial)


def _noise(history: History, plan: "SearchPlan", peak: _Peak) -> float:
    """Noise around a peak over what independent channels would give; never below 1.

    Noise that the channels share, interference most of all, makes it larger. The median
    of short stretches does not see other pulses nearby.
    """
    half = NOISE_REACH + 2 * peak.width
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
    return noise if noise > NOISE_CERTAIN else 1.0


def _snr_zero_dm(history: History, plan: "SearchPlan", peak: _Peak) -> float:
    """Best S/N of the undispersed band sum no further off than the boxcar is wide."""
    half = max(peak.width, 8)
    begin = int(np.rint(peak.time)) - half
    sums, cells = series(history, plan, begin, np.zeros(1), 2 * half + 1)
    best, w = 0.0, 1
    while w <= 2 * half + 1:
        window = np.ones(w, np.int64)
        count = np.convolve(cells[0], window, "valid")
        energy = np.convolve(sums[0], window, "valid")
        best = max(best, float((energy / (SIGMA * np.sqrt(np.maximum(count, 1)))).max()))
        w *= 2
    return best


def _sweep_error(peak: _Peak) -> float:
    """One standard deviation of the sweep, in samples, from the fall of S/N beside the peak.

    Near the maximum S(x) = S (1 - a x^2), and the likelihood of a matched filter is
    exp(S(x)^2 / 2), so the variance of x is 1 / (2 a S^2).
    """
    x = peak.sweeps - peak.sweep
    near = peak.snrs > 0.6 * peak.snr
    floor = max(0.3, 0.3 * peak.width / peak.snr)
    if np.count_nonzero(near) < 3:
        return floor
    fall = 1 - peak.snrs[near] / peak.snr
    curvature = float((fall * x[near] ** 2).sum() / max((x[near] ** 4).sum(), 1e-30))
    if curvature <= 0:
        return float(np.ptp(x))
    return max(floor, 1 / (peak.snr * float(np.sqrt(2 * curvature))))
