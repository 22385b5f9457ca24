"""The arithmetic of coarser time resolutions in plain NumPy: what `fast` must give exactly."""

from collections.abc import Sequence

import numpy as np

from ..clean.plain import MOST_COUNTS
from ..data import Int8Array


def average(rows: Int8Array, coarse: Int8Array, starts: Sequence[int]) -> None:
    """Average rows in time by 2, 4, ...; each octave keeps SIGMA counts of noise.

    Sums are of 16 bits: those of 512 samples and more may saturate, far above `MOST_COUNTS`.

    Parameters
    ----------
    rows
        Shape (nchans, nsamples), nsamples a multiple of ``2**len(starts)``.
    coarse
        Out: rows that hold all octaves, shape (nchans, any).
    starts
        Where the octaves begin in them.
    """
    sums = rows.astype(np.int32)
    for octave, start in enumerate(starts, 1):
        sums = np.clip(sums[:, ::2] + sums[:, 1::2], -(2**15), 2**15 - 1)
        scaled = np.rint(sums * np.float32(2.0 ** (-octave / 2)))
        coarse[:, start : start + sums.shape[1]] = np.clip(scaled, -MOST_COUNTS, MOST_COUNTS)


def move(rows: Int8Array, moves: Sequence[tuple[int, int, int]]) -> None:
    """Move stretches of all rows to their front, in place.

    Parameters
    ----------
    rows
        Shape (nchans, any).
    moves
        Where each stretch begins, where it is moved to, and how long it is.
    """
    for source, target, length in moves:
        rows[:, target : target + length] = rows[:, source : source + length].copy()
