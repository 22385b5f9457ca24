"""Exact sums of a few series, for measuring pulses and cutting images."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..data import BoolArray, History, Int8Array


def strips(
    history: History, starts: NDArray[np.int64], nsamples: int
) -> tuple[Int8Array, Int8Array]:
    """Copy ``nsamples`` of each channel from its own start: dedispersion without the sum.

    Returns
    -------
    strips
        int8 samples, shape (nchans, nsamples).
    weights
        1 where a sample carries signal and 0 where it does not, same shape.
    """
    samples = np.zeros((len(starts), nsamples), np.int8)
    weights = np.zeros((len(starts), nsamples), np.int8)
    for gulp in history.gulps:
        if gulp.start < starts.max() + nsamples and gulp.stop > starts.min():
            _copy(gulp.octaves[0], gulp.good, gulp.valid, starts - gulp.start, samples, weights)
    return samples, weights


@njit(nogil=True, cache=True, boundscheck=False)
def _copy(
    rows: Int8Array,
    good: BoolArray,
    valid: BoolArray,
    starts: NDArray[np.int64],
    samples: Int8Array,
    weights: Int8Array,
) -> None:
    """Copy what one gulp has of every strip; ``starts`` count from its first sample."""
    for channel in range(len(starts)):
        if good[channel]:
            start = starts[channel]
            for i in range(max(start, 0), min(start + samples.shape[1], len(valid))):
                samples[channel, i - start] = rows[channel, i]
                weights[channel, i - start] = valid[i]


@njit(nogil=True, cache=True, boundscheck=False)
def shift_sum(
    rows: NDArray[np.signedinteger], shifts: NDArray[np.int64], nout: int
) -> NDArray[np.int32]:
    """Sum channels, each read from its own shift; see `oracle.shift_sum`."""
    out = np.zeros((shifts.shape[0], nout), np.int32)
    for s in range(shifts.shape[0]):
        series = out[s]
        for c in range(rows.shape[0]):
            channel = rows[c, shifts[s, c] : shifts[s, c] + nout]
            for i in range(nout):
                series[i] += channel[i]
    return out
