"""The arithmetic of coarser time resolutions in numba; `plain` says what each function does.

The constants of `clean.plain` are compiled in: numba's cache does not see them change.
"""

import math
from collections.abc import Sequence

import numpy as np
from numba import int8, int16, int32, njit, uint64
from numpy.typing import NDArray

from ..clean.plain import MOST_COUNTS
from ..data import Int8Array
from ..rows import Rows, flat


def average(rows: Int8Array, coarse: Int8Array, starts: Sequence[int]) -> None:
    """Average in time by 2, 4, ...; see `plain.average`."""
    sums = np.empty(rows.shape[1], np.int16)
    _average(flat(rows.view(np.int16)), flat(coarse), np.array(starts, np.int64), sums, len(rows))


def move(rows: Int8Array, moves: Sequence[tuple[int, int, int]]) -> None:
    """Move stretches of all rows in place; see `plain.move`."""
    room = np.empty(max((length for _, _, length in moves), default=0), np.int8)
    _move(flat(rows), np.array(moves, np.int64).reshape(-1, 3), room, len(rows))


@njit(nogil=True, cache=True, boundscheck=False)
def _move(rows: Rows, moves: NDArray[np.int64], room: Int8Array, nchans: int) -> None:
    values = rows.values
    for c in range(nchans):
        row = uint64(c * rows.stride)
        for k in range(len(moves)):
            source, target = row + uint64(moves[k, 0]), row + uint64(moves[k, 1])
            # by way of other memory: of that the compiler knows that nothing overlaps
            for i in range(uint64(moves[k, 2])):
                room[i] = values[source + i]
            for i in range(uint64(moves[k, 2])):
                values[target + i] = room[i]


@njit(nogil=True, cache=True, boundscheck=False)
def _average(
    pairs: Rows, coarse: Rows, starts: NDArray[np.int64], sums: NDArray[np.int16], nchans: int
) -> None:
    """Sum up a row's pairs, and those sums', each level of sums behind the one below it."""
    narrow, both = pairs.values, sums.view(np.int32)
    for c in range(nchans):
        n, below, to = uint64(pairs.nsamples), uint64(c * pairs.stride), uint64(0)
        for m in range(len(starts)):
            if m == 0:
                _sum_pairs(narrow, below, sums, to, n)
            else:
                _sum_wide_pairs(both, below, sums, to, n)
            out = uint64(c * coarse.stride + starts[m])
            _round(sums, to, np.float32(math.sqrt(0.5 ** (m + 1))), coarse.values, out, n)
            below, to, n = to >> uint64(1), to + n, n >> uint64(1)


@njit(boundscheck=False, forceinline=True)
def _sum_pairs(pairs, first, sums, to, n):  # type: ignore[no-untyped-def]
    """Add samples, read two at a time."""
    for i in range(n):
        both = pairs[first + i]
        low, high = int16(int16(both << int16(8)) >> int16(8)), int16(both >> int16(8))
        sums[to + i] = int16(low + high)


@njit(boundscheck=False, forceinline=True)
def _sum_wide_pairs(pairs, first, sums, to, n):  # type: ignore[no-untyped-def]
    """Add sums, read two at a time."""
    for i in range(n):
        both = pairs[first + i]
        low, high = int32(int32(both << int32(16)) >> int32(16)), int32(both >> int32(16))
        sums[to + i] = int16(min(max(int32(low + high), int32(-32768)), int32(32767)))


@njit(boundscheck=False, forceinline=True)
def _round(sums, first, scale, out, to, n):  # type: ignore[no-untyped-def]
    most = np.float32(MOST_COUNTS)
    for i in range(n):
        z = np.rint(np.float32(sums[first + i]) * scale)
        out[to + i] = int8(int32(min(max(z, -most), most)))
