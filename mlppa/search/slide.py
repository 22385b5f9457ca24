"""Moving the newest samples along, compiled."""

import numpy as np
from numba import njit

from ..data import Int8Array
from ..dedisperse.exact import flat


def slide(rows: Int8Array, newest: Int8Array, passed: int) -> None:
    """Move rows on by ``passed`` samples and put the newest ones at their end."""
    _slide(len(rows), *flat(rows), *flat(newest), passed)


def carry(before: Int8Array, rows: Int8Array, halo: int, passed: int) -> None:
    """Put what came before, ``passed`` samples ago, in front of the newest samples."""
    kept = min(max(before.shape[1] - passed, 0), halo)
    _carry(len(rows), *flat(before), *flat(rows), halo, kept, passed)


@njit(nogil=True, cache=True, boundscheck=False)
def _carry(
    nchans: int,
    before: Int8Array,
    before_stride: int,
    _before_length: int,
    rows: Int8Array,
    stride: int,
    _length: int,
    halo: int,
    kept: int,
    passed: int,
) -> None:
    for channel in range(nchans):
        start, source = channel * stride, channel * before_stride + passed
        rows[start : start + kept] = before[source : source + kept]
        rows[start + kept : start + halo] = 0


@njit(nogil=True, cache=True, boundscheck=False)
def _slide(
    nchans: int,
    rows: Int8Array,
    stride: int,
    length: int,
    newest: Int8Array,
    newest_stride: int,
    n: int,
    passed: int,
) -> None:
    halo = length - n
    kept = min(max(length - passed, 0), halo)
    scratch = np.empty(halo, np.int8)
    for channel in range(nchans):
        row = rows[channel * stride : channel * stride + length]
        # by way of a scratch: where source and target overlap there are no vectors
        scratch[:kept] = row[passed : passed + kept]
        row[:kept] = scratch[:kept]
        row[kept:halo] = 0
        row[halo:] = newest[channel * newest_stride : channel * newest_stride + n]
