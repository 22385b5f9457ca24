"""Samples of 1, 2 and 4 bits, several to a byte."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

type UInt8Array = NDArray[np.uint8]
type First = Literal["low", "high"]


def _shifts(nbits: int, first: First) -> UInt8Array:
    shifts = np.arange(0, 8, nbits, dtype=np.uint8)
    return shifts if first == "low" else shifts[::-1]


def unpack_bits(packed: UInt8Array, nbits: int, *, first: First = "low") -> UInt8Array:
    """Give every packed sample a byte of its own.

    Parameters
    ----------
    packed
        Contiguous bytes, shape (n,).
    nbits
        Bits of a sample: 1, 2 or 4.
    first
        Which bits of a byte come first: the low ones in SIGPROC files, the high
        ones in PSRFITS.

    Returns
    -------
    samples
        Shape (n * 8 / nbits,), values from 0 to 2**nbits - 1.
    """
    values = np.arange(256, dtype=np.uint8)[:, None] >> _shifts(nbits, first)
    table = np.ascontiguousarray(values & (2**nbits - 1))
    # One look-up per byte: all its samples are moved as a single wide integer.
    wide = table.view(f"u{8 // nbits}").ravel()
    return wide[packed].view(np.uint8)


def pack_bits(samples: UInt8Array, nbits: int, *, first: First = "low") -> UInt8Array:
    """Pack samples of 1, 2 or 4 bits into bytes: the inverse of `unpack_bits`.

    Parameters
    ----------
    samples
        Values from 0 to 2**nbits - 1, shape (n,), n a multiple of 8 / nbits.
    """
    groups = samples.reshape(-1, 8 // nbits) << _shifts(nbits, first)
    return np.asarray(np.bitwise_or.reduce(groups, axis=1), np.uint8)
