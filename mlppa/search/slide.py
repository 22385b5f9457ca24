"""Moving the newest samples along, compiled."""

import numpy as np
from numba import njit

from ..data import Int8Array
from ..dedisperse.exact import flat


def slide(rows: Int8Array, newest: Int8Array, passed: int) -> None:
    """Move rows on by ``passed`` samples and put the newest ones at their end."""
    _slide(len(rows), *flat(rows), *flat(newest), passed)


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
