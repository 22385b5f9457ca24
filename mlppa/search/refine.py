"""Measure a peak exactly: S/N, DM, time and width from the full-resolution samples."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..clean import SIGMA, clipped_moments
from ..data import Candidate, Float32Array, History
from .cluster import REACH_WIDTHS, TRIGGER, Triggers

if TYPE_CHECKING:
    from . import SearchPlan

#: Trial DMs and widths of one round of refinement.
SWEEP_TRIALS = 33
WIDTH_TRIALS = 17

#: More bursts than this are not looked for beside one.
MOST_COMPANIONS = 8

#: Samples on either side from which the noise is measured.
NOISE_REACH = 1024

#: ... in stretches of this many; their median is certain to a few percent, so that less
#: than NOISE_CERTAIN is no evidence that channels share noise.
NOISE_STRETCH = 128
NOISE_CERTAIN = 1.05

#: Boxcars of this part of the longest one and more are so slow that the level may swing with
#: them. How many on either side, at least, tell how much it does; what they tell is less
#: certain, so that less than SWING_CERTAIN is no evidence, nor is less than SWING_SHARE of the
#: pulse: a bright one lowers the mean of its gulps, where others need not lie.
SWING_WIDTH = 0.25
SWING_REACH = 5
SWING_FEWEST = 8
SWING_CERTAIN = 2.0
SWING_SHARE = 0.1

#: Standard deviation of Gaussian noise over its median deviation.
GAUSSIAN_MAD = 1.4826

#: A boxcar counts if at least this part of its cells carries signal: a pulse cut by
#: the edge of the data is measured on what is there, but not on a few channels.
LEAST_PRESENT = 0.5


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest S/N of a round of trials.

    ``time`` is the middle of the boxcar at the band's mean delay, in samples; ``sweeps``
    are the trials and ``snrs`` their best S/N, which tell the error of the DM.
    """

    time: float
    sweep: float
    width: int
    snr: float
    sweeps: NDArray[np.float64]
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
        peak = best_peak(history, plan, (time, sweep, width), (margin, reach))
        if peak is None:
            return None
        at_edge = peak.sweep in (peak.sweeps[0], peak.sweeps[-1]) and peak.sweep > 0
        at_edge |= abs(peak.time - time) > margin + width - 1
        if not at_edge and peak.width < min(2 * width, plan.max_width):
            break
        time, sweep, width, margin = peak.time, peak.sweep, peak.width, float(peak.width)
        reach = max(2.0 * width, 4.0)
    assert peak is not None
    noise = noise_around(history, plan, peak)
    return Candidate(
        sample=peak.time - plan.mean_shape * peak.sweep,
        dm=peak.sweep * plan.unit_dm,
        dm_err=_sweep_error(peak) * plan.unit_dm,
        width_samples=peak.width,
        snr=peak.snr / noise,
        snr_zero_dm=snr_zero_dm(history, plan, peak) / noise,
        octave=plan.image_octave(peak.width),
    )


def companions(
    candidate: Candidate, trigger: Any, history: History, plan: "SearchPlan"
) -> Triggers:
    """Find other bursts at a candidate's DM that stand in the same blocks of the screen.

    They are as far off as distinct pulses are, and between them and the others the S/N
    falls to less than half: the tail of a scattered pulse is none.

    Returns
    -------
    companions
        Peaks to be measured, the strongest first.
    """
    from ..dedisperse.exact import band_sum

    width, sweep = candidate.width_samples, candidate.dm / plan.unit_dm
    time = candidate.sample + plan.mean_shape * sweep
    reach = int(2 * trigger["slack"] + REACH_WIDTHS * (trigger["width"] + width))
    half = reach + 2 * width
    begin = int(np.rint(time)) - half
    starts = channel_starts(plan, begin, np.array([sweep]))[0]
    snr = _boxcars(*band_sum(history, starts, 2 * half + 1), width)
    apart = int(2 * REACH_WIDTHS * width)
    taken = [int(np.rint(time - begin - (width - 1) / 2))]
    free = snr >= plan.threshold
    free[max(taken[0] - apart, 0) : taken[0] + apart + 1] = False
    free[:width] = free[-width:] = False
    while free.any() and len(taken) <= MOST_COMPANIONS:
        at = int(np.where(free, snr, 0).argmax())
        is_top = snr[at] >= snr[at - width : at + width + 1].max()
        if is_top and all(_between(snr, at, other).min() <= snr[at] / 2 for other in taken):
            taken.append(at)
            free[max(at - apart, 0) : at + apart + 1] = False
        else:
            free[max(at - width, 0) : at + width + 1] = False
    found = np.zeros(len(taken) - 1, TRIGGER)
    found["time"] = begin + np.array(taken[1:]) + (width - 1) / 2
    found["sweep"], found["width"], found["slack"] = sweep, width, width
    found["snr"] = snr[taken[1:]]
    return found


def _between(snr: NDArray[np.float64], a: int, b: int) -> NDArray[np.float64]:
    return snr[min(a, b) : max(a, b) + 1]


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
        How many channels contributed to each, same shape; (1, 1) where all are the same.
    """
    from ..dedisperse.exact import shift_sum_int8, strips

    starts = channel_starts(plan, time, sweeps)
    first = starts.min(axis=0)
    shifts = starts - first
    cut = strips(history, first, nsamples + int(shifts.max()))
    if cut.weights is None:
        if len(cut.channels) < len(first):
            shifts = np.ascontiguousarray(shifts[:, cut.channels])
        sums = shift_sum_int8(cut.samples, shifts, nsamples)
        return sums, np.full((1, 1), len(cut.channels), np.int32)
    return (
        shift_sum_int8(cut.samples, shifts, nsamples),
        shift_sum_int8(cut.weights, shifts, nsamples),
    )


def best_peak(
    history: History,
    plan: "SearchPlan",
    at: tuple[float, float, int],
    within: tuple[float, float],
) -> Peak | None:
    """Find the best boxcar near ``at`` (time, sweep, width) and its S/N in plain noise.

    The middle of the boxcar is at most its margin and width away, and the sweep at most
    its reach: ``within`` is both.
    """
    from .scores import best_boxcars, best_partial_boxcars

    (time, sweep, width), (margin, reach) = at, within
    trials = np.unique(np.rint(sweep + np.linspace(-reach, reach, SWEEP_TRIALS)))
    trials = trials[trials >= 0]
    longest = min(2 * width, plan.max_width)
    widths = np.unique(np.rint(np.geomspace(max(longest / 4, 1), longest, WIDTH_TRIALS)))
    widths = widths.astype(np.int64)
    half = int(margin) + 3 * width + 2
    begin = int(np.rint(time)) - half
    sums, cells = series(history, plan, begin, trials, 2 * half + 1)
    window = float(half - margin - width), float(half + margin + width)
    least = LEAST_PRESENT * max(int(np.count_nonzero(history.gulps[-1].good)), 1)
    if cells.shape == sums.shape:
        per_trial, best = best_partial_boxcars(sums, cells, widths, window, (SIGMA, least))
    elif cells[0, 0] < least:
        return None
    else:
        sigma = SIGMA * float(np.sqrt(cells[0, 0]))
        per_trial, best = best_boxcars(sums, widths, window, sigma)
    highest, trial, i, w = best
    if highest <= 0:
        return None
    return Peak(begin + i + (w - 1) / 2, float(trials[trial]), w, highest, trials, per_trial)


def noise_around(history: History, plan: "SearchPlan", peak: Peak) -> float:
    """Noise around a peak over what independent channels would give; never below 1.

    Noise that the channels share, interference most of all, makes it larger, and so does a
    level that swings as slowly as the pulse is wide. The median of short stretches, and of
    boxcars, does not see other pulses nearby.
    """
    from ..dedisperse.exact import band_sum

    reach = max(NOISE_REACH, SWING_REACH * peak.width) if _is_slow(peak, plan) else NOISE_REACH
    half = reach + 2 * peak.width
    begin = int(np.rint(peak.time)) - half
    starts = channel_starts(plan, begin, np.array([peak.sweep]))[0]
    sums, cells = band_sum(history, starts, 2 * half + 1)
    off = np.abs(np.arange(2 * half + 1) - half) > 2 * peak.width
    off &= cells >= LEAST_PRESENT * max(int(cells.max()), 1)
    z = (sums[off] / (SIGMA * np.sqrt(cells[off]))).astype(np.float32)
    stretches = len(z) // NOISE_STRETCH
    if stretches < 4:
        return 1.0
    _, std = clipped_moments(z[: stretches * NOISE_STRETCH].reshape(stretches, NOISE_STRETCH))
    noise = float(np.median(std))
    noise = noise if noise > NOISE_CERTAIN else 1.0
    swing = _swing(z, peak.width) if _is_slow(peak, plan) else 1.0
    return max(noise, swing) if swing > SWING_SHARE * peak.snr else noise


def _is_slow(peak: Peak, plan: "SearchPlan") -> bool:
    return peak.width >= SWING_WIDTH * plan.max_width


def _swing(z: Float32Array, width: int) -> float:
    """Say how much boxcars vary beyond independent samples; 1 where that is not certain."""
    boxcars = z[: len(z) - len(z) % width].reshape(-1, width).sum(axis=1) / np.sqrt(width)
    if len(boxcars) < SWING_FEWEST:
        return 1.0
    swing = GAUSSIAN_MAD * float(np.median(np.abs(boxcars - np.median(boxcars))))
    return swing if swing > SWING_CERTAIN else 1.0


def snr_zero_dm(history: History, plan: "SearchPlan", peak: Peak) -> float:
    """Best S/N of the undispersed band sum no further off than the boxcar is wide."""
    from ..dedisperse.exact import band_sum

    half = max(peak.width, 8)
    begin = int(np.rint(peak.time)) - half
    sums, cells = band_sum(history, np.full(len(plan.shape), begin), 2 * half + 1)
    best, w = 0.0, 1
    while w <= 2 * half + 1:
        best = max(best, float(_boxcars(sums, cells, w).max()))
        w *= 2
    return best


def _boxcars(sums: NDArray[np.int32], cells: NDArray[np.int32], width: int) -> NDArray[np.float64]:
    """S/N of a boxcar of every phase, shape (nsamples + 1 - width,)."""
    total, present = (np.concatenate([[0], x.cumsum(dtype=np.int64)]) for x in (sums, cells))
    energy, count = total[width:] - total[:-width], present[width:] - present[:-width]
    return np.asarray(energy / (SIGMA * np.sqrt(np.maximum(count, 1))))


def _sweep_error(peak: Peak) -> float:
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
