"""The CPU's kernel: trees over runs of rows, shared out to threads."""

from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import TYPE_CHECKING

import numpy as np

from ..data import Int8Array
from . import BLOCK, GROUP, MARGIN, NARROW_HALO, Octave, Peaks, padded_rows
from .boxcars import SCORE_COUNTS
from .program import Layout, Program, compile_tree
from .tree import Ints, Node, node_delays

if TYPE_CHECKING:
    from .kernels import Room

#: A run of rows spans at most this many samples of sweep: its sums stay in the cache.
RUN_SWEEP = 1024

#: And is cut in parts of about so many rows, that threads may share.
RUN_ROWS = 512


#: Samples of rows that are made at a time.
TILE = 2048


class Engine:
    """Screens with ``threads`` threads; see `dedisperse.Kernel`.

    The trees are planned when an octave is first seen, and kept.
    """

    def __init__(self, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(threads, "screen")
        self._compile()
        self._memory = local()
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
        span = kernels.Span(TILE, octave.past, outputs)
        lowest = int(np.clip(np.ceil(threshold / SCORE_COUNTS), -32768, 32767))

        def screen(part: tuple[slice, Program]) -> Peaks:
            where, program = part
            ngroups = -(-len(program.roots) // GROUP)
            score = np.empty((ngroups, outputs // BLOCK), np.int16)
            level = np.empty((ngroups, outputs // BLOCK), np.uint8)
            out = kernels.Best(score.reshape(-1), level.reshape(-1))
            code = kernels.Code(
                program.steps, program.roots, program.zeros, 1 << -program.tree.bits
            )
            room = self._room(program, octave, outputs)
            kernels.screen_rows(code, raw, span, octave.levels, lowest, room, out)
            if octave.levels > kernels.NARROW:
                kernels.screen_sums(room, ngroups, span, octave.levels, out)
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

    def _room(self, program: Program, octave: Octave, outputs: int) -> "Room":
        """Lay out this thread's memory for a run of rows."""
        from .kernels import Room

        nrows = -(-len(program.roots) // GROUP) * GROUP
        nsums = (octave.past + outputs) // 32
        zeros, scratch = 2 * program.zeros, program.scratch
        sizes = [
            scratch,
            2 * (16 * TILE + 4096 + 6 * nsums),
            2 * nrows * NARROW_HALO,
            2 * nrows * nsums,
        ]
        parts, *others = self._areas(sizes)
        parts[:zeros] = 0
        parts[program.zeros + 1 : zeros : 2] = 1
        rows, tails, sums = (area.view(np.int16) for area in others)
        return Room(parts, rows, rows.view(np.int32), tails, sums, sums.view(np.int32))

    def _areas(self, sizes: list[int]) -> list[Int8Array]:
        """Cut this thread's memory in areas of so many bytes, that begin on a cache line."""
        stops = np.cumsum([-(-size // 64) * 64 for size in sizes])
        memory: Int8Array = getattr(self._memory, "area", np.empty(0, np.int8))
        if len(memory) < stops[-1]:
            fresh = np.zeros(int(stops[-1]) + 64, np.int8)
            memory = self._memory.area = fresh[-fresh.ctypes.data % 64 :]
        return [
            memory[stop - -(-size // 64) * 64 :][:size]
            for stop, size in zip(stops, sizes, strict=True)
        ]

    def _plan(self, octave: Octave, stride: int) -> list[tuple[slice, Program]]:
        key = octave, stride
        if key not in self._programs:
            order = np.argsort(octave.shape, kind="stable")
            layout = Layout(
                rows=order,
                stride=stride,
                first=int(octave.sweeps[-1]) + MARGIN // 2,
                length=TILE,
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
