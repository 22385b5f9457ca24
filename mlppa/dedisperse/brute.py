"""The screen in numba: exact brute force on int8 rows, threads over delay rows."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..data import Int8Array
from . import BLOCK, BlockMaxima, Octave
from .oracle import inverse_roots

#: Samples summed at a time: the int32 sums stay in the first-level cache.
TILE = 2048


class BruteForce:
    """Screens with ``threads`` threads.

    The rows are shared out in small runs, so that no thread waits long for another.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "screen")
        # compiled (or read from numba's cache) before data flow, not at the first gulp
        one = np.ones(1, np.int64)
        self(np.zeros((1, BLOCK + 1), np.int8), Octave(0, one, one[:, None].astype(np.int32), one))
        shift_sum(np.zeros((1, 1), np.int8), np.zeros((1, 1), np.int64), 1)
        shift_sum(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.int64), 1)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def __call__(self, rows: Int8Array, octave: Octave) -> BlockMaxima:
        """Screen all rows of an octave; see `dedisperse.Kernel`."""
        flat = np.ascontiguousarray(rows).reshape(-1)
        nrows, nout = len(octave.sweeps), rows.shape[1] - octave.halo
        score = np.empty((nrows, nout // BLOCK), np.float32)
        width = np.empty(score.shape, np.uint8)
        # int64 offsets of every (row, channel) in the flat samples
        starts = (octave.sweeps[-1] - octave.sweeps)[:, None] + octave.delays
        starts += rows.shape[1] * np.arange(rows.shape[0])[None, :]
        roots = inverse_roots(octave.widths)

        def work(part: slice) -> None:
            _screen(flat, starts[part], octave.widths, roots, score[part], width[part])

        step = max(1, min(64, -(-nrows // self._threads)))
        parts = [slice(i, i + step) for i in range(0, nrows, step)]
        for _ in self._pool.map(work, parts):
            pass
        return BlockMaxima(score, width)


@njit(nogil=True, cache=True, boundscheck=False)
def _sum_channels(
    flat: NDArray[np.int8],
    starts: NDArray[np.int64],
    begin: int,
    count: int,
    out: NDArray[np.int32],
) -> None:
    """Add ``count`` samples of all channels; groups of eight in int16, which cannot overflow."""
    for i in range(count):
        out[i] = 0
    nchans = starts.shape[0]
    group = nchans - nchans % 8
    for c in range(0, group, 8):
        a = flat[starts[c] + begin : starts[c] + begin + count]
        b = flat[starts[c + 1] + begin : starts[c + 1] + begin + count]
        d = flat[starts[c + 2] + begin : starts[c + 2] + begin + count]
        e = flat[starts[c + 3] + begin : starts[c + 3] + begin + count]
        f = flat[starts[c + 4] + begin : starts[c + 4] + begin + count]
        g = flat[starts[c + 5] + begin : starts[c + 5] + begin + count]
        h = flat[starts[c + 6] + begin : starts[c + 6] + begin + count]
        k = flat[starts[c + 7] + begin : starts[c + 7] + begin + count]
        for i in range(count):
            low = np.int16(np.int16(a[i]) + np.int16(b[i])) + np.int16(
                np.int16(d[i]) + np.int16(e[i])
            )
            high = np.int16(np.int16(f[i]) + np.int16(g[i])) + np.int16(
                np.int16(h[i]) + np.int16(k[i])
            )
            out[i] += np.int32(np.int16(low) + np.int16(high))
    for c in range(group, nchans):
        a = flat[starts[c] + begin : starts[c] + begin + count]
        for i in range(count):
            out[i] += np.int32(a[i])


@njit(nogil=True, cache=True, boundscheck=False)
def _screen(
    flat: NDArray[np.int8],
    starts: NDArray[np.int64],
    widths: NDArray[np.int64],
    roots: NDArray[np.float32],
    score: NDArray[np.float32],
    width: NDArray[np.uint8],
) -> None:
    """Screen the rows of ``starts``, shape (nrows, nchans), into block maxima."""
    longest = widths[-1]
    nout = score.shape[1] * BLOCK
    length = nout + longest - 1
    tile = np.empty(TILE, np.int32)
    total = np.empty(length + 1, np.int32)
    for row in range(starts.shape[0]):
        # Sums may wrap around; differences of wrapped sums are right again.
        running = np.int32(0)
        total[0] = 0
        for begin in range(0, length, TILE):
            count = min(TILE, length - begin)
            _sum_channels(flat, starts[row], begin, count, tile)
            for i in range(count):
                running = np.int32(running + tile[i])
                total[begin + i + 1] = running
        for block in range(score.shape[1]):
            score[row, block] = -np.inf
        for j in range(len(widths)):
            w = widths[j]
            for block in range(score.shape[1]):
                end = longest + block * BLOCK
                best = np.int32(-2147483648)
                for i in range(end, end + BLOCK):
                    best = max(best, np.int32(total[i] - total[i - w]))
                value = np.float32(best) * roots[j]
                if value > score[row, block]:
                    score[row, block] = value
                    width[row, block] = j


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
