"""The arithmetic of cleaning in numba; `plain` says what each function does.

Everything runs over the spectra as they lie in memory, channels innermost, eight or
four spectra at a time, in 32-bit floats: the compiler makes vector code of it. Each
pass reads the gulp once, and rows are written a few cache lines at a time.
The constants of `plain` are compiled in: numba's cache does not see them change.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..data import BoolArray, Float32Array, Int8Array
from .plain import (
    BAND_CLIP_SIGMA,
    BIN,
    CLIP_SIGMA,
    FEWEST_CHANNELS_FOR_DROPS,
    GOLDEN,
    GROUP,
    HUGE,
    MOST_COUNTS,
    TILE,
)

#: 32-bit sums go into 64-bit ones after this many groups.
FLUSH = 32

#: Vector code for sums, with NaN and infinity kept: they mean something.
FAST = {"contract", "reassoc", "nsz"}


def dropped(spectra: NDArray[np.generic]) -> BoolArray:
    """Find spectra without sky; see `plain.dropped`."""
    out = np.empty(len(spectra), np.bool_)
    _dropped(spectra, spectra.shape[1] >= FEWEST_CHANNELS_FOR_DROPS, out)
    return out


def trimmed_sums(
    spectra: NDArray[np.generic],
    starts: NDArray[np.int64],
    slow: Float32Array,
    centre: Float32Array,
    response: Float32Array,
    reach: Float32Array,
) -> NDArray[np.float64]:
    """Sum up deviations that are not outliers; see `plain.trimmed_sums`."""
    model = np.stack([centre, response, reach])
    total = np.zeros((4, spectra.shape[1]))
    _trimmed_sums(spectra, starts, slow, model, total)
    return total


def band_sums(
    spectra: NDArray[np.generic], slow: Float32Array, mean: Float32Array, inverse: Float32Array
) -> tuple[Float32Array, Float32Array]:
    """Sum up channels, and samples in bins; see `plain.band_sums`."""
    nsamples, nchans = spectra.shape
    band = np.empty(nsamples, np.float32)
    bins = np.zeros((nsamples // BIN, nchans), np.float32)
    _band_sums(spectra, slow, np.stack([mean, inverse]), band, bins)
    return band, bins


def running_median(series: Float32Array, window: int) -> Float32Array:
    """Take the median of a window around each sample; see `plain.running_median`."""
    order, half = np.argsort(series), window // 2
    ranks = np.empty(len(series), np.int64)
    ranks[order] = np.arange(len(series))
    mirrored = np.concatenate([ranks[:half][::-1], ranks, ranks[len(ranks) - half :][::-1]])
    out = np.empty_like(series)
    _running_median(mirrored, series[order], out)
    return out


def quantise(
    spectra: NDArray[np.generic],
    slow: Float32Array,
    mean: Float32Array,
    response: Float32Array,
    scale: Float32Array,
    rows: Int8Array,
) -> None:
    """Quantise and transpose; see `plain.quantise`."""
    model = np.stack([mean, response * scale, scale])
    _quantise(spectra, slow, model, rows.view(np.uint64))


@njit(nogil=True, cache=True, boundscheck=False)
def _dropped(spectra: NDArray[np.generic], one_value: bool, out: BoolArray) -> None:
    for t in range(spectra.shape[0]):
        row = spectra[t]
        empty, constant = True, one_value
        for value in row:
            empty = empty and not np.isfinite(value)
            constant = constant and value == row[0]
            if not empty and not constant:
                break
        out[t] = empty or constant


@njit(nogil=True, cache=True, boundscheck=False, fastmath=FAST)
def _trimmed_sums(
    spectra: NDArray[np.generic],
    starts: NDArray[np.int64],
    slow: Float32Array,
    model: Float32Array,
    total: NDArray[np.float64],
) -> None:
    nchans = spectra.shape[1]
    zero, one = np.float32(0), np.float32(1)
    centre, response, reach = model[0], model[1], model[2]
    part = np.zeros((4, nchans), np.float32)
    count, first, second, lagged = part[0], part[1], part[2], part[3]
    before = np.zeros(nchans, np.float32)
    for g in range(len(starts)):
        group = spectra[starts[g] : starts[g] + GROUP]
        level = slow[starts[g] : starts[g] + GROUP]
        for c in range(nchans):
            n, s, q, p, last = zero, zero, zero, zero, before[c]
            for k in range(GROUP):
                d = np.float32(group[k, c]) - centre[c] - response[c] * level[k]
                kept = np.abs(d) <= reach[c]
                d = d if kept else zero
                n += one if kept else zero
                s += d
                q += d * d
                p += d * last
                last = d
            count[c] += n
            first[c] += s
            second[c] += q
            lagged[c] += p
            before[c] = last
        if g % FLUSH == FLUSH - 1 or g == len(starts) - 1:
            for i in range(4):
                for c in range(nchans):
                    total[i, c] += part[i, c]
                    part[i, c] = zero


@njit(nogil=True, cache=True, boundscheck=False, fastmath=FAST)
def _band_sums(
    spectra: NDArray[np.generic],
    slow: Float32Array,
    model: Float32Array,
    band: Float32Array,
    bins: Float32Array,
) -> None:
    """Take four spectra at a time: what is known of the channels is read once for them."""
    mean, inverse = model[0], model[1]
    near, far = np.float32(BAND_CLIP_SIGMA), np.float32(CLIP_SIGMA)
    for t in range(0, spectra.shape[0], 4):
        group, level, inside = spectra[t : t + 4], slow[t : t + 4], bins[t // BIN]
        total0 = total1 = total2 = total3 = np.float32(0)
        for c in range(spectra.shape[1]):
            z0 = _deviation(group[0, c], mean[c], inverse[c], level[0])
            z1 = _deviation(group[1, c], mean[c], inverse[c], level[1])
            z2 = _deviation(group[2, c], mean[c], inverse[c], level[2])
            z3 = _deviation(group[3, c], mean[c], inverse[c], level[3])
            total0 += _clipped(z0, near)
            total1 += _clipped(z1, near)
            total2 += _clipped(z2, near)
            total3 += _clipped(z3, near)
            inside[c] += _clipped(z0, far) + _clipped(z1, far)
            inside[c] += _clipped(z2, far) + _clipped(z3, far)
        band[t], band[t + 1], band[t + 2], band[t + 3] = total0, total1, total2, total3


@njit(nogil=True, cache=True, fastmath=FAST)
def _deviation(
    value: np.generic, mean: np.float32, inverse: np.float32, level: np.float32
) -> np.float32:
    z = (np.float32(value) - mean) * inverse + level
    return z if np.abs(z) <= np.float32(HUGE) else np.float32(0)


@njit(nogil=True, cache=True, fastmath=FAST)
def _clipped(z: np.float32, most: np.float32) -> np.float32:
    return min(max(z, -most), most)


@njit(nogil=True, cache=True, boundscheck=False)
def _running_median(ranks: NDArray[np.int64], values: Float32Array, out: Float32Array) -> None:
    """Keep ``middle``, a rank, where half of the window lies below it."""
    window = len(ranks) - len(out) + 1
    half = window // 2
    inside = np.zeros(len(values), np.int32)
    middle = below = 0
    for i in range(len(ranks)):
        inside[ranks[i]] += 1
        below += ranks[i] < middle
        if i >= window:
            inside[ranks[i - window]] -= 1
            below -= ranks[i - window] < middle
        if i >= window - 1:
            while below > half:
                middle -= 1
                below -= inside[middle]
            while below + inside[middle] <= half:
                below += inside[middle]
                middle += 1
            out[i - window + 1] = values[middle]


@njit(nogil=True, cache=True, boundscheck=False, fastmath={"contract"})
def _quantise(
    spectra: NDArray[np.generic],
    slow: Float32Array,
    model: Float32Array,
    words: NDArray[np.uint64],
) -> None:
    """Write eight samples at a time, as one word (the first one lowest) of each channel's row."""
    nsamples, nchans = spectra.shape
    mean, response, scale = model[0], model[1], model[2]
    golden = np.uint32(GOLDEN)
    phase = np.empty(nchans, np.uint32)
    for c in range(nchans):
        phase[c] = np.uint32(c * c) * golden
    # a cache line more: rows of a power of two would all fall into the same sets of the cache
    halves = np.empty((TILE // 8, nchans + 8, 2), np.uint32)
    tile = halves.view(np.uint64)
    for start in range(0, nsamples, TILE):
        for i in range(TILE // 8):
            t = start + 8 * i
            group, level, out = spectra[t : t + 8], slow[t : t + 8], halves[i]
            for c in range(nchans):
                # in halves: vectors hold twice as many lanes of 32 bit
                low = high = np.uint32(0)
                for k in range(4):
                    z = (np.float32(group[k, c]) - mean[c]) * scale[c] - response[c] * level[k]
                    counts = _counts(z, np.uint32(phase[c] + np.uint32(t + k) * golden))
                    low |= counts << np.uint32(8 * k)
                for k in range(4, 8):
                    z = (np.float32(group[k, c]) - mean[c]) * scale[c] - response[c] * level[k]
                    counts = _counts(z, np.uint32(phase[c] + np.uint32(t + k) * golden))
                    high |= counts << np.uint32(8 * (k - 4))
                out[c, 0], out[c, 1] = low, high
        for c in range(nchans):
            line = words[c, start // 8 : start // 8 + TILE // 8]
            for i in range(TILE // 8):
                line[i] = tile[i, c, 0]


@njit(nogil=True, cache=True, fastmath={"contract"})
def _counts(z: np.float32, phase: np.uint32) -> np.uint32:
    """Round what is a number, dithered: the lowest byte is a sample."""
    most = np.float32(MOST_COUNTS)
    dither = np.float32(np.int32(np.uint32(phase * phase))) * np.float32(2.0**-32)
    z = (z if np.abs(z) <= np.float32(HUGE) else np.float32(0)) + dither
    return np.uint32(np.int32(np.rint(min(max(z, -most), most))) & np.int32(255))
