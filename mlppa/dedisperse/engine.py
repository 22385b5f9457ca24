"""The CPU's kernel: trees over runs of rows, shared out to threads."""

import logging
import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from itertools import islice, pairwise
from threading import local
from typing import NamedTuple, cast

import numpy as np

from ..channel import PATIENCE_S
from ..data import Int8Array
from ..rows import CACHE_LINE, flat, padded_rows
from . import BLOCK, GROUP, MARGIN, NARROW_HALO, Octave, Peaks, Window
from .arrays import Best, Code, Data, Room, Task
from .boxcars import SCORE_COUNTS
from .program import Program, compile_tree
from .tree import Ints, Node, node_delays

logger = logging.getLogger(__name__)

#: A run has at most so many rows, that its sums stay in the cache and many threads find something
#: to do; and no more than these for each root of the channels, since trees of few need no more.
RUN_ROWS = 1024
ROWS_PER_ROOT = 32

#: It spans at most so many samples of sweep for each of them.
SWEEP_PER_ROW = 2

#: So few at the end go with those before them.
FEW_ROWS = 64

#: So many samples of a row are made at a time.
TILE = 4096


class _Job(NamedTuple):
    """A run of rows, ``above`` groups from the first one of its window."""

    program: Program
    data: Data
    task: Task
    above: int


class Engine:
    """Screens with ``threads`` threads; see `dedisperse.Kernel`.

    The trees are planned when an octave is first seen, and kept.
    """

    def __init__(self, threads: int = 1, *, pinned: bool = False) -> None:
        self.threads = threads
        own = _own_processors(threads) if pinned else []
        self._pool = ThreadPoolExecutor(threads, "screen", _keep_to_one, (iter(own),))
        # to hand a part to a thread and wait for it takes a percent of the time
        self._map = self._pool.map if threads > 1 else map
        self._memory = local()
        self._programs: dict[Octave, list[tuple[slice, Program]]] = {}

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def delays(self, octave: Octave) -> Ints:
        """Delay of every channel in every row as summed, shape (nrows, nchans)."""
        delays = np.concatenate([node_delays(tree) for tree in self.trees(octave)])
        return delays[:, np.argsort(np.argsort(octave.shape, kind="stable"))]

    def trees(self, octave: Octave) -> list[Node]:
        """Give the plans of all runs of rows; see `oracle.Oracle`."""
        return [program.tree for _, program in self._plan(octave)]

    def __call__(self, windows: Sequence[Window]) -> list[Peaks]:
        """Screen; the parts of all windows are shared out at once."""
        jobs = [self._jobs(window) for window in windows]
        found = self._map(self._screen, (job for of_one in jobs for job in of_one))
        return [_joined(list(islice(found, len(of_one)))) for of_one in jobs]

    def share(self, work: Callable[[slice], None], count: int) -> None:
        """Have so many things worked on, a part of them by each thread."""
        bounds = np.linspace(0, count, min(self.threads, count) + 1).astype(int).tolist()
        for _ in self._map(work, (slice(*pair) for pair in pairwise(bounds))):
            pass

    def ahead[T](self, items: Iterator[T]) -> Generator[T]:
        """Have each item made by one of the threads while the one before it is worked on.

        Made in a thread of their own they would have processors be shared by more threads than
        there are of them, and those would wait for who is held up.
        """
        end = object()
        coming: Future[object] = Future()
        try:
            coming = self._pool.submit(next, items, end)
            while (item := coming.result()) is not end:
                coming = self._pool.submit(next, items, end)
                yield cast(T, item)
        finally:
            over = coming.cancel() or wait([coming], PATIENCE_S).done
            # an error would hold this frame, and that the future with the error
            del coming
            if not over:
                logger.warning("still busy reading %g s after it was asked to stop", PATIENCE_S)
            elif isinstance(items, Generator):
                items.close()

    def _jobs(self, window: Window) -> list[_Job]:
        rows, octave = padded_rows(window.rows), window.octave
        data = Data(
            flat(rows).values,
            np.argsort(octave.shape, kind="stable") * rows.strides[0],
            int(octave.sweeps[-1]) + MARGIN // 2,
        )
        outputs = rows.shape[1] - octave.halo
        lowest = int(np.clip(np.ceil(window.threshold / SCORE_COUNTS), -32768, 32767))
        task = Task(TILE, octave.past, outputs, octave.levels, lowest)
        plan = self._plan(octave)
        return [_Job(program, data, task, part.start // GROUP) for part, program in plan]

    def _screen(self, job: _Job) -> Peaks:
        """Screen a run of rows."""
        from . import kernels

        program, data, task, above = job
        shape = -(-len(program.roots) // GROUP), task.outputs // BLOCK
        score, level = np.empty(shape, np.int16), np.empty(shape, np.uint8)
        best = Best(score.reshape(-1), level.reshape(-1))
        code = Code(program.steps, program.roots, program.zeros, 1 << -program.tree.bits)
        room = self._room(program, shape[0], task)
        kernels.screen_rows(code, data, task, room, best)
        if task.levels > kernels.NARROW:
            kernels.screen_sums(shape[0], task, room, best)
        group, block = np.nonzero(score >= task.lowest)
        return Peaks(
            group + above,
            block,
            score[group, block].astype(np.float32) * np.float32(SCORE_COUNTS),
            level[group, block].astype(np.int64),
        )

    def _room(self, program: Program, ngroups: int, task: Task) -> Room:
        """Lay out this thread's memory for a run of rows."""
        from .kernels import row_room

        nrows, nsums = ngroups * GROUP, (task.past + task.outputs) // 32
        parts, *others = self._areas(
            program.scratch, 2 * row_room(task), 2 * nrows * NARROW_HALO, 2 * nrows * nsums
        )
        parts[: 2 * program.zeros] = 0
        parts[program.zeros + 1 : 2 * program.zeros : 2] = 1
        rows, tails, sums = (area.view(np.int16) for area in others)
        return Room(parts, rows, rows.view(np.int32), tails, sums, sums.view(np.int32))

    def _areas(self, *sizes: int) -> list[Int8Array]:
        """Cut this thread's memory in areas of so many bytes, each from a cache line on."""
        padded = [-(-size // CACHE_LINE) * CACHE_LINE for size in sizes]
        memory: Int8Array = getattr(self._memory, "area", np.empty(0, np.int8))
        if len(memory) < sum(padded):
            fresh = np.zeros(sum(padded) + CACHE_LINE, np.int8)
            memory = self._memory.area = fresh[-fresh.ctypes.data % CACHE_LINE :]
        return np.split(memory[: sum(padded)], np.cumsum(padded)[:-1])

    def _plan(self, octave: Octave) -> list[tuple[slice, Program]]:
        if octave not in self._programs:
            shape = np.sort(octave.shape, kind="stable")
            self._programs[octave] = [
                (part, compile_tree(shape, octave.sweeps[part], TILE))
                for part in _runs(octave.sweeps, len(shape))
            ]
        return self._programs[octave]


def _own_processors(threads: int) -> list[int]:
    """Choose a processor for each thread, where there are as many of both.

    They wake each other many times a gulp, and the system's scheduler likes to let who is woken
    share the processor of who wakes it, while the other one is idle.
    """
    every = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set[int]()
    return sorted(every) if len(every) == threads > 1 else []


def _keep_to_one(processors: Iterator[int]) -> None:
    """Let this thread run on the next of some processors only, if there is one."""
    number = next(processors, None)
    if number is not None:
        with suppress(OSError):
            os.sched_setaffinity(0, {number})


def _runs(sweeps: Ints, nchans: int) -> list[slice]:
    """Cut rows into runs of whole groups that span little sweep."""
    most = min(RUN_ROWS, int(ROWS_PER_ROOT * math.sqrt(nchans)))
    runs, start = [], 0
    while start < len(sweeps):
        stop = int(np.searchsorted(sweeps, sweeps[start] + SWEEP_PER_ROW * most))
        stop = min(stop, start + most)
        stop = min(start + max((stop - start) // GROUP, 1) * GROUP, len(sweeps))
        # a tree for few rows costs nearly as much as one for many
        stop = stop if len(sweeps) - stop >= FEW_ROWS else len(sweeps)
        runs.append(slice(start, stop))
        start = stop
    return runs


def _joined(parts: list[Peaks]) -> Peaks:
    """Put the peaks of all runs of an octave together."""
    return Peaks(
        np.concatenate([part.group for part in parts]),
        np.concatenate([part.block for part in parts]),
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.level for part in parts]),
    )
