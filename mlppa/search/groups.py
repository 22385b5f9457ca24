"""The grouping of raw peaks, compiled: strongest first, each looks only where wings can be."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .cluster import BOWTIE_EXCESS, LEAST_BAND, NOISE_SIGMA, REACH_SWEEP, REACH_WIDTHS, Triggers

#: Peaks are sorted into bins of this many widths of sweep.
BIN_WIDTHS = 16

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]


class Peaks(NamedTuple):
    """Raw peaks in bins of like width and sweep, in order of time in each."""

    time: Floats
    sweep: Floats
    width: Floats
    slack: Floats
    snr: Floats


class Bins(NamedTuple):
    """Peaks [start[b], start[b + 1]) are in bin b; bins [first[k], first[k + 1]) are of class k.

    ``low`` and ``high`` are the sweeps in a bin, ``width`` the width of a class, ``weakest``
    its lowest S/N and ``slack`` its highest.
    """

    start: Ints
    low: Floats
    high: Floats
    first: Ints
    width: Floats
    weakest: Floats
    slack: Floats


def owners(triggers: Triggers) -> NDArray[np.int64]:
    """Tell for every peak which one leads its group; see `cluster.owners`."""
    if len(triggers) == 0:
        return np.empty(0, np.int64)
    earliest = np.lexsort((triggers["sweep"], triggers["time"]))
    width = triggers["width"][earliest]
    widths, kind = np.unique(width, return_inverse=True)
    bins = np.floor(triggers["sweep"][earliest] / (BIN_WIDTHS * width)).astype(np.int64)
    # few bins are sorted much faster than many, and the sort keeps what is in order
    _, bins = np.unique(kind * (int(bins.max()) + 1) + bins, return_inverse=True)
    if bins.max() < 2**16:
        bins = bins.astype(np.uint16)
    by_bin = np.argsort(bins, kind="stable")
    order = earliest[by_bin]
    peaks = Peaks(*(triggers[name][order] for name in Peaks._fields))
    kind, bins = kind[by_bin], bins[by_bin]
    start = _starts(np.diff(bins) != 0)
    first = _starts(np.diff(kind) != 0)
    table = Bins(
        start=start,
        low=np.minimum.reduceat(peaks.sweep, start[:-1]),
        high=np.maximum.reduceat(peaks.sweep, start[:-1]),
        first=np.searchsorted(start, first),
        width=widths,
        weakest=np.minimum.reduceat(peaks.snr, first[:-1]),
        slack=np.maximum.reduceat(peaks.slack, first[:-1]),
    )
    where = np.empty(len(order), np.int64)
    where[by_bin] = np.arange(len(order))
    strongest = where[np.argsort(-triggers["snr"][earliest], kind="stable")]
    found = np.empty(len(order), np.int64)
    found[order] = order[_group(peaks, table, strongest)]
    return found


def _starts(changes: NDArray[np.bool_]) -> Ints:
    """Where runs begin, and the end, given where neighbours differ."""
    return np.concatenate([[0], np.flatnonzero(changes) + 1, [len(changes) + 1]])


@njit(nogil=True, cache=True, boundscheck=False)
def _group(peaks: Peaks, bins: Bins, strongest: Ints) -> Ints:
    n = len(peaks.time)
    owner = np.full(n, -1, np.int64)
    free = np.arange(n + 1)  # the next one that is not yet in a group, as far as known
    for leader in strongest:
        if owner[leader] < 0:
            owner[leader] = leader
            free[leader] = leader + 1
            for k in range(len(bins.width)):
                _gather(peaks, bins, leader, k, owner, free)
    return owner


@njit(nogil=True, cache=True, boundscheck=False)
def _gather(peaks: Peaks, bins: Bins, leader: int, k: int, owner: Ints, free: Ints) -> None:
    """Give a leader the wings that are in class ``k``."""
    time, sweep, width = peaks.time[leader], peaks.sweep[leader], peaks.width[leader]
    boxcar = bins.width[k]
    furthest = _furthest(peaks.snr[leader], width, boxcar, bins.weakest[k])
    if furthest < 0:
        return
    narrowing = math.sqrt(width / boxcar)
    beside = REACH_WIDTHS * (width + boxcar) + peaks.slack[leader]
    first, last = bins.first[k], bins.first[k + 1]
    b = first + np.searchsorted(bins.high[first:last], sweep - furthest)
    while b < last and bins.low[b] <= sweep + furthest:
        off = min(max(sweep - bins.low[b], bins.high[b] - sweep), furthest)
        reach = REACH_SWEEP * off + beside + bins.slack[k]
        begin, end = bins.start[b], bins.start[b + 1]
        i = _next(free, begin + np.searchsorted(peaks.time[begin:end], time - reach))
        while i < end and peaks.time[i] <= time + reach:
            off_sweep = abs(peaks.sweep[i] - sweep)
            near = REACH_SWEEP * off_sweep + beside + peaks.slack[i]
            if abs(peaks.time[i] - time) <= near:
                spread = width + LEAST_BAND * off_sweep
                law = narrowing * min(boxcar, spread) / spread
                if peaks.snr[i] <= BOWTIE_EXCESS * peaks.snr[leader] * law + NOISE_SIGMA:
                    owner[i] = leader
                    free[i] = i + 1
            i = _next(free, i + 1)
        b += 1


@njit(nogil=True, cache=True, boundscheck=False)
def _furthest(snr: float, width: float, boxcar: float, weakest: float) -> float:
    """How far off in sweep a wing can be at most and be ``weakest``; negative if nowhere."""
    needed = (weakest - NOISE_SIGMA) / (BOWTIE_EXCESS * snr)
    if needed <= 0:
        return np.inf
    return float((math.sqrt(width * boxcar) / needed - width) / LEAST_BAND)


@njit(inline="always")
def _next(free, i):  # type: ignore[no-untyped-def]
    """Find the first free peak from i on, and shorten the way for the next one who asks."""
    found = i
    while free[found] != found:
        found = free[found]
    while free[i] != found:
        ahead = free[i]
        free[i] = found
        i = ahead
    return found
