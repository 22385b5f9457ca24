"""The screen in plain NumPy: slow, obvious, and what every other kernel must equal."""

import numpy as np
from numpy.typing import NDArray

from ..data import Int8Array
from . import BLOCK, GROUP, MARGIN, NARROW_HALO, Octave, Peaks
from .boxcars import SCORE_COUNTS, scores


class Oracle:
    """Screens by shift and add.

    Parameters
    ----------
    delays
        Delay of every channel in every row, shape (nrows, nchans); by default the exact
        ones, rounded to samples. Those that a tree makes differ by a sample here and there.
    """

    def __init__(self, delays: NDArray[np.int64] | None = None) -> None:
        self._delays = delays

    def __call__(self, rows: Int8Array, octave: Octave, threshold: float) -> Peaks:
        """Screen all rows of an octave; see `dedisperse.Kernel`."""
        delays = exact_delays(octave) if self._delays is None else self._delays
        outputs = rows.shape[1] - octave.halo
        past = octave.wide_halo + NARROW_HALO
        first = octave.sweeps[-1] + MARGIN // 2
        found: list[tuple[float, ...]] = []
        for group, start in enumerate(range(0, len(octave.sweeps), GROUP)):
            part = slice(start, start + GROUP)
            shifts = first - octave.sweeps[part, None] + delays[part]
            series = shift_sum(rows, shifts, past + outputs)
            best = np.max([scores(row, octave.levels, outputs) for row in series], axis=0)
            maxima = best.reshape(octave.levels + 1, -1, BLOCK).max(axis=2)
            score = SCORE_COUNTS * maxima.max(axis=0)
            (block,) = np.nonzero(score >= threshold)
            levels = maxima.argmax(axis=0)
            found += [(group, int(b), float(score[b]), int(levels[b])) for b in block]
        table = np.array(found, np.float64).reshape(-1, 4)
        whole = table.astype(np.int64)
        return Peaks(whole[:, 0], whole[:, 1], table[:, 2].astype(np.float32), whole[:, 3])


def exact_delays(octave: Octave) -> NDArray[np.int64]:
    """Delay of every channel behind the top one, to the nearest sample, (nrows, nchans)."""
    exact = np.multiply.outer(octave.sweeps, octave.shape)
    return np.floor(exact + 0.5).astype(np.int64)


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
