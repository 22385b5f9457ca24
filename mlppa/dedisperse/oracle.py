"""The screen in plain NumPy: slow, obvious, and what every other kernel must equal."""

import numpy as np
from numpy.typing import NDArray

from ..data import Int8Array
from . import BLOCK, BlockMaxima, Octave


def screen(rows: Int8Array, octave: Octave) -> BlockMaxima:
    """Dedisperse by shift and add, and keep the best boxcar of every block."""
    nout = rows.shape[1] - octave.halo
    longest = int(octave.widths[-1])
    score = np.empty((len(octave.sweeps), nout // BLOCK), np.float32)
    width = np.empty(score.shape, np.uint8)
    for row, (sweep, delays) in enumerate(zip(octave.sweeps, octave.delays, strict=True)):
        shifts = octave.sweeps[-1] - sweep + delays
        series = shift_sum(rows, shifts[None, :].astype(np.int64), nout + longest - 1)[0]
        total = np.concatenate([[0], np.cumsum(series, dtype=np.int64)])
        ends = longest + np.arange(nout)
        sums = np.stack([total[ends] - total[ends - w] for w in octave.widths])
        # float32, as every kernel: equal sums then give equal scores
        scores = sums.astype(np.float32) * inverse_roots(octave.widths)[:, None]
        best = scores.reshape(len(octave.widths), -1, BLOCK).max(axis=2)
        width[row] = best.argmax(axis=0)
        score[row] = best.max(axis=0)
    return BlockMaxima(score, width)


def inverse_roots(widths: NDArray[np.int64]) -> NDArray[np.float32]:
    """1 / sqrt(width) in the precision that all kernels share."""
    return (1.0 / np.sqrt(widths)).astype(np.float32)


def shift_sum(
    rows: NDArray[np.signedinteger], shifts: NDArray[np.int64], nout: int
) -> NDArray[np.int32]:
    """Sum channels, each read from its own shift.

    Parameters
    ----------
    rows
        Shape (nchans, nsamples).
    shifts
        First sample of each channel, shape (nseries, nchans), all of them >= 0.
    nout
        Samples of a series.

    Returns
    -------
    series
        Shape (nseries, nout).
    """
    out = np.zeros((len(shifts), nout), np.int32)
    for series, shift in zip(out, shifts, strict=True):
        for channel, first in zip(rows, shift, strict=True):
            series += channel[first : first + nout]
    return out
