"""Boxcars of every width and phase over the trials of a peak."""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(nogil=True, cache=True, boundscheck=False)
def best_boxcars(
    sums: NDArray[np.int32],
    widths: NDArray[np.int64],
    window: tuple[float, float],
    sigma: float,
) -> tuple[NDArray[np.float64], tuple[float, int, int, int]]:
    """Find the best boxcar where every sum has noise of the same ``sigma``.

    Parameters
    ----------
    sums
        Band sums, shape (ntrials, nsamples).
    widths
        Lengths to try, ascending.
    window
        From where to where the middle of a boxcar may lie, in samples.
    sigma
        Noise of a sum.

    Returns
    -------
    per_trial
        Highest S/N of each trial, at least 0, shape (ntrials,).
    best
        The highest S/N of all, its trial, first sample and width; of equals that of the
        shortest boxcar, the lowest trial and the earliest sample.
    """
    ntrials, n = sums.shape
    per_trial = np.zeros(ntrials)
    found = np.zeros((len(widths), 2))
    total = np.zeros(n + 1, np.int64)
    for trial in range(ntrials):
        _accumulate(sums[trial], total)
        for k in range(len(widths)):
            w = widths[k]
            low, high = _phases(window, w, n)
            if low < high:
                most = total[low + w] - total[low]
                for i in range(low + 1, high):
                    most = max(most, total[i + w] - total[i])
                snr = most / (sigma * math.sqrt(w))
                per_trial[trial] = max(per_trial[trial], snr)
                if snr > found[k, 0]:
                    found[k, 0], found[k, 1] = snr, trial
    k = int(np.argmax(found[:, 0]))
    snr, trial, w = found[k, 0], int(found[k, 1]), widths[k]
    _accumulate(sums[trial], total)
    low, high = _phases(window, w, n)
    at, most = low, total[low]
    for i in range(low, high):
        energy = total[i + w] - total[i]
        if i == low or energy > most:
            at, most = i, energy
    return per_trial, (snr, trial, at, w)


@njit(nogil=True, cache=True, boundscheck=False)
def best_partial_boxcars(
    sums: NDArray[np.int32],
    cells: NDArray[np.int32],
    widths: NDArray[np.int64],
    window: tuple[float, float],
    scale: tuple[float, float],
) -> tuple[NDArray[np.float64], tuple[float, int, int, int]]:
    """Find the best boxcar where cells are missing; see `best_boxcars`.

    ``cells`` tells how many samples are in each sum, and ``scale`` the noise of one and
    how many of them a sample of a boxcar needs on average.
    """
    ntrials, n = sums.shape
    sigma, least = scale
    per_trial = np.zeros(ntrials)
    found = np.zeros((len(widths), 3))
    total, present = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    for trial in range(ntrials):
        _accumulate(sums[trial], total)
        _accumulate(cells[trial], present)
        for k in range(len(widths)):
            w = widths[k]
            low, high = _phases(window, w, n)
            for i in range(low, high):
                energy, count = total[i + w] - total[i], present[i + w] - present[i]
                if energy > 0 and count > 0 and count >= least * w:
                    snr = energy / (sigma * math.sqrt(count))
                    per_trial[trial] = max(per_trial[trial], snr)
                    if snr > found[k, 0]:
                        found[k, 0], found[k, 1], found[k, 2] = snr, trial, i
    k = int(np.argmax(found[:, 0]))
    return per_trial, (found[k, 0], int(found[k, 1]), int(found[k, 2]), widths[k])


@njit(inline="always")
def _phases(window, w, n):  # type: ignore[no-untyped-def]
    """First samples that a boxcar may have, [low, high)."""
    offset = (w - 1) / 2
    low = max(math.ceil(window[0] - offset), 0)
    return low, min(math.floor(window[1] - offset), n - w) + 1


@njit(inline="always")
def _accumulate(values, total):  # type: ignore[no-untyped-def]
    for i in range(len(values)):
        total[i + 1] = total[i] + values[i]
