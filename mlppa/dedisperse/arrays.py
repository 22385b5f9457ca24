"""What the kernels take: arrays by the names of what lies in them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

type Int8s = NDArray[np.int8]
type Int16s = NDArray[np.int16]
type Int32s = NDArray[np.int32]
type Int64s = NDArray[np.int64]
#: Where in an array, or how many.
type Place = int | np.unsignedinteger


class Code(NamedTuple):
    """A `program.Program` in parts; its rows are to be multiplied by ``factor``."""

    steps: Int64s
    roots: Int64s
    zeros: int
    factor: int


class Data(NamedTuple):
    """The raw samples, all channels in one.

    Parameters
    ----------
    starts
        Where each channel begins, in the order of rising delay.
    first
        Sample of a channel that makes the first one of a row of sweep 0.
    """

    raw: Int8s
    starts: Int64s
    first: int


class Task(NamedTuple):
    """What is wanted.

    Parameters
    ----------
    tile, past, outputs
        Samples of a tile, past ones, and those to screen: all of them multiples of BLOCK.
    levels
        See `Octave`.
    lowest
        Score from which the level matters.
    """

    tile: int
    past: int
    outputs: int
    levels: int
    lowest: int


class Room(NamedTuple):
    """What a thread works in.

    Parameters
    ----------
    parts
        Partial sums, as the program lays them out; it begins with a row of zeros, and one
        of 0, 1, 0, 1, ...
    rows, pairs
        A group's rows side by side, all their levels, and maxima: int16, and two as int32.
    tails
        Last samples of every row in the tile before, NARROW_HALO a row.
    sums, sum_pairs
        Sums of 32 samples (level 5) of every row, past ones first: int16, and two as int32.
    """

    parts: Int8s
    rows: Int16s
    pairs: Int32s
    tails: Int16s
    sums: Int16s
    sum_pairs: Int32s


class Best(NamedTuple):
    """Out: the maximum of every group and block, and its level, (ngroups * nblocks,)."""

    score: Int16s
    level: NDArray[np.uint8]
