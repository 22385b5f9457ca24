"""Exact sums of a few series, for measuring pulses and cutting images."""

from dataclasses import dataclass

import numpy as np
from numba import int16, int32, njit, uint64
from numpy.typing import NDArray

from ..data import BoolArray, History, Int8Array
from ..rows import Rows, flat

#: So many int8 samples always fit into an int16 sum.
EXACT_CHANNELS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Strips:
    """Consecutive samples of channels, each from its own start.

    Parameters
    ----------
    channels
        Which channels: those that carry signal, shape (n,).
    samples
        Shape (n, nsamples).
    weights
        1 where a sample carries signal and 0 where it does not, same shape; None where
        all do.
    """

    channels: NDArray[np.intp]
    samples: Int8Array
    weights: Int8Array | None


def strips(history: History, starts: NDArray[np.int64], nsamples: int) -> Strips:
    """Copy ``nsamples`` of each channel from its own start, ``starts`` of shape (nchans,)."""
    first, last = int(starts.min()), int(starts.max()) + nsamples
    good = history.good_throughout(first, last)
    whole = good is not None
    channels = np.flatnonzero(good) if good is not None else np.arange(len(starts))
    shape = (len(channels), nsamples)
    samples = np.empty(shape, np.int8) if whole else np.zeros(shape, np.int8)
    weights = None if whole else np.zeros(shape, np.int8)
    for gulp in history.between(first, last):
        begins = starts[channels] - gulp.start
        _copy(flat(gulp.samples), channels, begins, samples)
        if weights is not None:
            _copy_valid(gulp.good, gulp.valid, begins, weights)
    return Strips(channels, samples, weights)


@njit(nogil=True, cache=True, boundscheck=False)
def _copy(
    rows: Rows, channels: NDArray[np.intp], starts: NDArray[np.int64], samples: Int8Array
) -> None:
    """Copy what one gulp has of every strip; ``starts`` count from its first sample."""
    values, stride, nsamples = rows
    for k in range(len(channels)):
        out, start, base = samples[k], starts[k], channels[k] * stride
        low, high = max(start, 0), min(start + len(out), nsamples)
        if low < high:
            out[low - start : high - start] = values[base + low : base + high]


@njit(nogil=True, cache=True, boundscheck=False)
def _copy_valid(
    good: BoolArray, valid: BoolArray, starts: NDArray[np.int64], weights: Int8Array
) -> None:
    for channel in range(len(starts)):
        if good[channel]:
            start = starts[channel]
            for i in range(max(start, 0), min(start + weights.shape[1], len(valid))):
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


@njit(nogil=True, cache=True, boundscheck=False)
def shift_sum_int8(rows: Int8Array, shifts: NDArray[np.int64], nout: int) -> NDArray[np.int32]:
    """Sum channels as `shift_sum` does, in int16 as far as they fit: four at a time."""
    nchans, stride = rows.shape
    values = rows.reshape(-1)
    out = np.zeros((shifts.shape[0], nout), np.int32)
    part = np.zeros(nout, np.int16)
    n = uint64(nout)
    for s in range(shifts.shape[0]):
        series = out[s]
        for first in range(0, nchans, EXACT_CHANNELS):
            last = min(first + EXACT_CHANNELS, nchans)
            part[:] = 0
            for k in range(first, last - 3, 4):
                a = uint64(k * stride + shifts[s, k])
                b = uint64((k + 1) * stride + shifts[s, k + 1])
                c = uint64((k + 2) * stride + shifts[s, k + 2])
                d = uint64((k + 3) * stride + shifts[s, k + 3])
                for i in range(n):
                    low = int16(int16(values[a + i]) + int16(values[b + i]))
                    high = int16(int16(values[c + i]) + int16(values[d + i]))
                    part[i] = int16(part[i] + int16(low + high))
            for k in range(last - (last - first) % 4, last):
                a = uint64(k * stride + shifts[s, k])
                for i in range(n):
                    part[i] = int16(part[i] + int16(values[a + i]))
            for i in range(n):
                series[i] += int32(part[i])
    return out


def band_sum(
    history: History, starts: NDArray[np.int64], nsamples: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Sum the channels, each from its own start.

    Returns
    -------
    sums
        Counts, shape (nsamples,).
    cells
        How many channels carry signal in each, same shape.
    """
    first, last = int(starts.min()), int(starts.max()) + nsamples
    good = history.good_throughout(first, last)
    sums = np.zeros(nsamples, np.int32)
    count = 0 if good is None else int(np.count_nonzero(good))
    cells = np.full(nsamples, count, np.int32)
    for gulp in history.between(first, last):
        begins = starts - gulp.start
        _add_band(flat(gulp.samples), gulp.good, begins, sums)
        if good is None:
            valid = np.broadcast_to(gulp.valid.view(np.int8), gulp.samples.shape)
            _add_band(flat(valid), gulp.good, begins, cells)
    return sums, cells


@njit(nogil=True, cache=True, boundscheck=False)
def _add_band(
    rows: Rows, good: BoolArray, starts: NDArray[np.int64], out: NDArray[np.int32]
) -> None:
    values, stride, nsamples = rows
    for channel in range(len(starts)):
        if good[channel]:
            start, base = starts[channel], channel * stride
            low, high = max(start, 0), min(start + len(out), nsamples)
            if low < high:
                source = values[base + low : base + high]
                target = out[low - start : high - start]
                for i in range(len(target)):
                    target[i] += int32(source[i])


def pixels(
    history: History, starts: NDArray[np.int64], npixels: int, pixel: int
) -> tuple[NDArray[np.int32], NDArray[np.int32] | None]:
    """Sum each channel up in pixels of ``pixel`` samples, from its own start.

    Returns
    -------
    sums
        Counts, shape (nchans, npixels).
    cells
        How many samples carry signal in each, same shape; None where all do.
    """
    first, last = int(starts.min()), int(starts.max()) + npixels * pixel
    good = history.good_throughout(first, last)
    whole = good is not None and bool(good.all())
    sums = np.zeros((len(starts), npixels), np.int32)
    cells = None if whole else np.zeros_like(sums)
    for gulp in history.between(first, last):
        begins = starts - gulp.start
        _add_pixels(flat(gulp.samples), begins, pixel, sums)
        if cells is not None:
            before = np.concatenate([[0], np.cumsum(gulp.valid)])
            _count_pixels(gulp.good, before, begins, pixel, cells)
    return sums, cells


@njit(nogil=True, cache=True, boundscheck=False)
def _add_pixels(rows: Rows, starts: NDArray[np.int64], pixel: int, out: NDArray[np.int32]) -> None:
    """Add what one gulp has of every pixel; samples without signal are 0."""
    values, stride, nsamples = rows
    for channel in range(len(starts)):
        base, sums, start = channel * stride, out[channel], starts[channel]
        for p in range(len(sums)):
            begin = start + p * pixel
            low, high = max(begin, 0), min(begin + pixel, nsamples)
            if low < high:
                total = int32(0)
                for value in values[base + low : base + high]:
                    total = int32(total + int32(value))
                sums[p] += total


@njit(nogil=True, cache=True, boundscheck=False)
def _count_pixels(
    good: BoolArray,
    before: NDArray[np.int64],
    starts: NDArray[np.int64],
    pixel: int,
    out: NDArray[np.int32],
) -> None:
    """Count valid samples; ``before`` tells how many there are before each of a gulp's."""
    end = len(before) - 1
    for channel in range(len(starts)):
        if good[channel]:
            for p in range(out.shape[1]):
                begin = starts[channel] + p * pixel
                low, high = min(max(begin, 0), end), min(max(begin + pixel, 0), end)
                out[channel, p] += before[high] - before[low]
