"""The screen in plain NumPy: slow, obvious, and what every other kernel must equal."""

from collections.abc import Callable, Generator, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..data import Int8Array
from . import BLOCK, GROUP, MARGIN, Octave, Peaks, Window
from .boxcars import SCORE_COUNTS, scores
from .tree import Node


class Oracle:
    """Screens by shift and add.

    Parameters
    ----------
    trees
        Sum as these trees do, one after the other: their delays differ by a sample here
        and there, and they round. By default all channels are added at their exact delay,
        rounded to samples.
    """

    threads = 1

    def __init__(self, trees: Sequence[Node] | None = None) -> None:
        self._trees = trees

    def __call__(self, windows: Sequence[Window]) -> list[Peaks]:
        """Screen; see `dedisperse.Kernel`."""
        return [self._screen(*window) for window in windows]

    def share(self, work: Callable[[slice], None], count: int) -> None:
        """Have all of it worked on at once."""
        work(slice(count))

    def ahead[T](self, items: Iterator[T]) -> Generator[T]:
        """Give items as they come."""
        yield from items

    def _screen(self, rows: Int8Array, octave: Octave, threshold: float) -> Peaks:
        outputs = rows.shape[1] - octave.halo
        past = octave.past
        first = octave.sweeps[-1] + MARGIN // 2 - octave.sweeps
        if self._trees is None:
            all_series = shift_sum(rows, first[:, None] + exact_delays(octave), past + outputs)
        else:
            by_delay = rows[np.argsort(octave.shape, kind="stable")].astype(np.int32)
            whole = np.concatenate([tree_sums(tree, by_delay) for tree in self._trees])
            all_series = whole[
                np.arange(len(whole))[:, None], first[:, None] + np.arange(past + outputs)
            ]
        found: list[tuple[float, ...]] = []
        for group, start in enumerate(range(0, len(octave.sweeps), GROUP)):
            series = all_series[start : start + GROUP]
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


def tree_sums(node: Node, rows: NDArray[np.int32], turn: int = 0) -> NDArray[np.int32]:
    """Sum channels as a tree does.

    Parameters
    ----------
    rows
        Channels in the order of rising delay, shape (nchans, nsamples).
    turn
        Parity of the samples that round up: the other one in every other child, or the
        rounding of many would add up to an oscillation.

    Returns
    -------
    sums
        Every row of the node at every sample of its first channel, shape (nrows, nsamples);
        where a channel ends before that, its last sample stands in.
    """
    nsamples = rows.shape[1]
    time = np.arange(nsamples)
    total = np.zeros((len(node.sweeps), nsamples), np.int32)
    for i, shift in enumerate(node.shift):
        if node.pick is None:
            part = np.broadcast_to(rows[node.first + i], total.shape)
        else:
            part = np.clip(tree_sums(node.children[i], rows, i % 2), -128, 127)[node.pick[i]]
        total += np.take_along_axis(part, np.clip(time + shift[:, None], 0, nsamples - 1), axis=1)
    if node.bits < 0:
        return total << -node.bits
    if node.bits > 0:
        return (total + (time + turn + 1) % 2 + node.bits - 1) >> node.bits
    return total
