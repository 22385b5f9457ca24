"""Shift and add in numba: exact sums of a few series, for measuring and for images."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


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
