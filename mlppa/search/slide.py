"""Moving the newest samples along, compiled."""

import numpy as np
from numba import njit

from ..data import Int8Array


@njit(nogil=True, cache=True, boundscheck=False)
def slide(rows: Int8Array, newest: Int8Array, passed: int) -> None:
    """Move rows on by ``passed`` samples and put the newest ones at their end."""
    length = rows.shape[1]
    halo = length - newest.shape[1]
    kept = min(max(length - passed, 0), halo)
    scratch = np.empty(halo, np.int8)
    for channel in range(rows.shape[0]):
        row = rows[channel]
        # by way of a scratch: where source and target overlap there are no vectors
        scratch[:kept] = row[passed : passed + kept]
        row[:kept] = scratch[:kept]
        row[kept:halo] = 0
        row[halo:] = newest[channel]
