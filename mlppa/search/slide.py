"""Moving the newest samples along, compiled."""

import numpy as np
from numba import njit

from ..data import Int8Array
from ..dedisperse.exact import Rows, flat


def slide(rows: Int8Array, newest: Int8Array, passed: int) -> None:
    """Move rows on by ``passed`` samples and put the newest ones at their end."""
    _slide(len(rows), flat(rows), flat(newest), passed)


def carry(before: Int8Array, rows: Int8Array, halo: int, passed: int) -> None:
    """Put what came before, ``passed`` samples ago, in front of the newest samples."""
    _carry(len(rows), flat(before), flat(rows), halo, passed)


@njit(nogil=True, cache=True, boundscheck=False)
def _carry(nchans: int, before: Rows, rows: Rows, halo: int, passed: int) -> None:
    kept = min(max(before.nsamples - passed, 0), halo)
    for channel in range(nchans):
        start, source = channel * rows.stride, channel * before.stride + passed
        rows.values[start : start + kept] = before.values[source : source + kept]
        rows.values[start + kept : start + halo] = 0


@njit(nogil=True, cache=True, boundscheck=False)
def _slide(nchans: int, rows: Rows, newest: Rows, passed: int) -> None:
    length, n = rows.nsamples, newest.nsamples
    halo = length - n
    kept = min(max(length - passed, 0), halo)
    scratch = np.empty(halo, np.int8)
    for channel in range(nchans):
        start, source = channel * rows.stride, channel * newest.stride
        row = rows.values[start : start + length]
        # by way of a scratch: where source and target overlap there are no vectors
        scratch[:kept] = row[passed : passed + kept]
        row[:kept] = scratch[:kept]
        row[kept:halo] = 0
        row[halo:] = newest.values[source : source + n]
