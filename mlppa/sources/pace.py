"""Recorded blocks at the telescope's pace: cut into heaps, each at its time."""

import math
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ..data import Block, FilterbankHeader

#: Length of a heap by default, about.
HEAP_S = 0.02

#: Larger heaps travel badly; by default they are not.
HEAP_BYTES = 1 << 23

#: A sleep ends late by less than this. The rest is waited for awake.
SPIN_S = 4e-4

#: Longest sleep: how soon a wait notices that it was stopped.
NAP_S = 0.1


class Pace:
    """When samples are due, on a clock that is not set while it runs.

    Parameters
    ----------
    tsamp_s
        Sampling time.
    speed
        How many times faster than the telescope; 0 never waits.
    clock, sleep
        The clock, and what waits on it.
    """

    def __init__(
        self,
        tsamp_s: float,
        speed: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._step_s = tsamp_s / speed if speed else 0.0
        self.clock = clock
        self._sleep = sleep
        self._stopped = False
        self.t0_s = clock()

    def start(self) -> None:
        """Let sample 0 be now."""
        self.t0_s = self.clock()

    def due_s(self, sample: int) -> float:
        """When a sample begins, on the clock; it was recorded when the next one begins."""
        return self.t0_s + sample * self._step_s

    def wait(self, due_s: float) -> float | None:
        """Wait until a time; give by how many seconds it was missed, or None if stopped.

        Who comes late does not wait, and later times stay where they are.
        """
        while not self._stopped:
            left_s = due_s - self.clock()
            if left_s <= 0:
                return -left_s
            if left_s > SPIN_S:
                self._sleep(min(left_s - SPIN_S, NAP_S))
        return None

    def stop(self) -> None:
        """End all waiting, from any thread."""
        self._stopped = True


def heap_samples(header: FilterbankHeader) -> int:
    """Give the length of a heap by default: a power of two samples, near to 20 ms."""
    most = max(1, HEAP_BYTES // (header.nchans * max(header.nbits // 8, 1)))
    nearest = round(math.log2(HEAP_S / header.tsamp_s))
    return 1 << max(0, min(nearest, int(math.log2(most))))


def cut(blocks: Iterable[Block], nsamples: int) -> Iterator[Block]:
    """Cut a stream into heaps that end on multiples of ``nsamples``, and before gaps."""
    parts: list[Block] = []
    for block in blocks:
        if parts and block.start != parts[-1].stop:
            yield _joined(parts)
            parts = []
        begin = block.start
        while begin < block.stop:
            end = min(block.stop, begin - begin % nsamples + nsamples)
            parts.append(_part(block, begin, end))
            if end % nsamples == 0:
                yield _joined(parts)
                parts = []
            begin = end
    if parts:
        yield _joined(parts)


def _part(block: Block, begin: int, end: int) -> Block:
    here = slice(begin - block.start, end - block.start)
    return Block(begin, block.spectra[here], None if block.valid is None else block.valid[here])


def _joined(parts: list[Block]) -> Block:
    if len(parts) == 1:
        return parts[0]
    valid = None
    if any(part.valid is not None for part in parts):
        every = (np.ones(len(p.spectra), np.bool_) if p.valid is None else p.valid for p in parts)
        valid = np.concatenate(list(every))
    return Block(parts[0].start, np.concatenate([part.spectra for part in parts]), valid)
