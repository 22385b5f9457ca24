"""The CPU's kernel: trees over runs of rows, shared out to threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..data import Int8Array
from . import BLOCK, GROUP, MARGIN, NARROW_HALO, Octave, Peaks, padded_rows
from .boxcars import SCORE_COUNTS
from .program import Layout, Program, compile_tree
from .tree import Ints, Node, node_delays

#: A run of rows spans at most this many samples of sweep: its sums stay in the cache.
RUN_SWEEP = 1024

#: And is cut in parts of about so many rows, that threads may share.
RUN_ROWS = 512


class Engine:
    """Screens with ``threads`` threads; see `dedisperse.Kernel`.

    The trees are planned when an octave is first seen, and kept.
    """

    def __init__(self, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(threads, "screen")
        self._compile()
        self._programs: dict[tuple[Octave, int], list[tuple[slice, Program]]] = {}

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    @staticmethod
    def _compile() -> None:
        """Compile (or read from numba's cache) before data flow, not at the first gulp."""
        from . import exact

        one = np.ones((1, 1), np.int64)
        for kind in (np.int8, np.int32):
            exact.shift_sum(np.zeros((1, 2), kind), one, 1)

    def delays(self, octave: Octave) -> Ints:
        """Delay of every channel in every row as summed, shape (nrows, nchans)."""
        delays = np.concatenate([node_delays(tree) for tree in self.trees(octave)])
        return delays[:, np.argsort(np.argsort(octave.shape, kind="stable"))]

    def trees(self, octave: Octave) -> list[Node]:
        """Give the plans of all runs of rows; see `oracle.Oracle`."""
        return [program.tree for _, program in self._plan(octave, 1 << 20)]

    def __call__(self, rows: Int8Array, octave: Octave, threshold: float) -> Peaks:
        """Screen all rows of an octave."""
        from . import kernels

        rows = padded_rows(rows)
        raw = np.lib.stride_tricks.as_strided(rows, (rows.strides[0] * len(rows),), (1,))
        outputs = rows.shape[1] - octave.halo
        tiles = (octave.tile, octave.wide_halo // octave.tile, outputs // octave.tile)

        def screen(part: tuple[slice, Program]) -> Peaks:
            where, program = part
            nrows = len(program.roots)
            shape = (-(-nrows // GROUP), outputs // BLOCK)
            score = np.empty(shape, np.int16)
            level = np.empty(shape, np.uint8)
            nsums = (outputs + octave.wide_halo) // 32
            extra = BLOCK + 10 * (NARROW_HALO + octave.tile + BLOCK) + 5 * (nsums + BLOCK)
            scratch = np.zeros(extra, np.int16)
            parts = np.zeros(program.scratch, np.int8)
            parts[program.zeros + 1 : 2 * program.zeros : 2] = 1
            sums = np.empty(nrows * nsums, np.int16)
            flat = score.reshape(-1), level.reshape(-1)
            pairs = scratch.view(np.int32)
            lowest = int(np.clip(np.ceil(threshold / SCORE_COUNTS), -32768, 32767))
            kernels.screen_rows(
                program.steps,
                program.roots,
                program.zeros,
                -program.tree.bits,
                raw,
                parts,
                tiles,
                octave.levels,
                scratch,
                pairs,
                lowest,
                *flat,
                sums,
            )
            if octave.levels > kernels.NARROW:
                warm = octave.wide_halo // 32
                kernels.screen_sums(sums, nrows, warm, octave.levels, scratch, pairs, *flat)
            group, block = np.nonzero(score >= lowest)
            return Peaks(
                group + where.start // GROUP,
                block,
                score[group, block].astype(np.float32) * np.float32(SCORE_COUNTS),
                level[group, block].astype(np.int64),
            )

        found = list(self._pool.map(screen, self._plan(octave, rows.strides[0])))
        return Peaks(
            np.concatenate([f.group for f in found]),
            np.concatenate([f.block for f in found]),
            np.concatenate([f.score for f in found]),
            np.concatenate([f.level for f in found]),
        )

    def _plan(self, octave: Octave, stride: int) -> list[tuple[slice, Program]]:
        key = octave, stride
        if key not in self._programs:
            order = np.argsort(octave.shape, kind="stable")
            layout = Layout(
                rows=order,
                stride=stride,
                first=int(octave.sweeps[-1]) + MARGIN // 2,
                length=NARROW_HALO + octave.tile,
            )
            self._programs[key] = [
                (part, compile_tree(octave.shape[order], octave.sweeps[part], layout))
                for part in _runs(octave.sweeps)
            ]
        return self._programs[key]


def _runs(sweeps: Ints) -> list[slice]:
    """Cut rows into runs of whole groups that span little sweep."""
    runs, start = [], 0
    while start < len(sweeps):
        stop = int(np.searchsorted(sweeps, sweeps[start] + RUN_SWEEP))
        stop = min(stop, start + RUN_ROWS)
        stop = min(start + max((stop - start) // GROUP, 1) * GROUP, len(sweeps))
        runs.append(slice(start, stop))
        start = stop
    return runs
