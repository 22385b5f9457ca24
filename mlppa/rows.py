"""How the int8 samples of channels lie in memory: a row for each, the newest last."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .data import Int8Array

#: In bytes.
CACHE_LINE = 64


class Rows(NamedTuple):
    """Rows as one array, and the distance and the length of rows in it.

    Of that the compiler knows that neighbours lie side by side.
    """

    values: NDArray[np.signedinteger]
    stride: int
    nsamples: int


def flat(rows: NDArray[np.signedinteger]) -> Rows:
    """Give an array of rows, shape (nrows, nsamples), as a kernel likes it."""
    (nrows, nsamples), stride = rows.shape, rows.strides[0] // rows.itemsize
    length = (nrows - 1) * stride + nsamples
    whole = np.lib.stride_tricks.as_strided(rows, (length,), (rows.itemsize,))
    return Rows(whole, stride, nsamples)


def whole_lines(nsamples: int) -> int:
    """Give the samples of the cache lines that so many samples begin to fill."""
    return -(-nsamples // CACHE_LINE) * CACHE_LINE


def empty_rows(nchans: int, nsamples: int) -> Int8Array:
    """Make room for rows as kernels like them.

    A stride that is an odd number of cache lines keeps channels out of each other's sets;
    what follows the last row may be read, though not used.
    """
    stride = (-(-nsamples // CACHE_LINE) | 1) * CACHE_LINE
    return np.empty((nchans + 1, stride), np.int8)[:nchans, :nsamples]


def padded_rows(rows: Int8Array) -> Int8Array:
    """Give rows as `empty_rows` lays them out; a copy only if they do not lie so.

    A stretch of longer rows of `empty_rows` lies so, too.
    """
    lies_so = rows.strides[0] % (2 * CACHE_LINE) == CACHE_LINE and rows.strides[1] == 1
    if rows.base is not None and lies_so:
        return rows
    padded = empty_rows(*rows.shape)
    padded[:] = rows
    return padded
