"""Samples of 1, 2 and 4 bits, several to a byte, by sigpyproc's kernels."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

type UInt8Array = NDArray[np.uint8]
type First = Literal["low", "high"]

#: Bytes to unpack at a time. The kernel does not let go of the interpreter, and other
#: threads have their times to keep.
_PIECE = 1 << 16

_BIT_ORDER = {"low": "little", "high": "big"}


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
    from sigpyproc.io.bits import unpack  # its kernels take a second to import

    every = 8 // nbits
    samples = np.empty(len(packed) * every, np.uint8)
    for begin in range(0, len(packed), _PIECE):
        piece = packed[begin : begin + _PIECE]
        here = samples[begin * every : (begin + len(piece)) * every]
        unpack(piece, nbits, here, bitorder=_BIT_ORDER[first])
    return samples


def pack_bits(samples: UInt8Array, nbits: int, *, first: First = "low") -> UInt8Array:
    """Pack samples of 1, 2 or 4 bits into bytes: the inverse of `unpack_bits`.

    Parameters
    ----------
    samples
        Values from 0 to 2**nbits - 1, shape (n,), n a multiple of 8 / nbits.
    """
    from sigpyproc.io.bits import pack

    return np.asarray(pack(samples, nbits, bitorder=_BIT_ORDER[first]), np.uint8)
