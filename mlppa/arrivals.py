"""When samples came in: what latency is measured from."""

import time
from collections.abc import Iterable, Iterator

import numpy as np

from .data import Block

#: Blocks that are remembered: some minutes of a live stream.
MEMORY = 8192

#: Blocks that tell the pace.
PACED = 64


class Arrivals:
    """Remembers when blocks were complete; read by one thread while another one notes.

    Attributes
    ----------
    first
        Index of the first sample that came; None before.
    newest, newest_s
        Index behind the last of them, and the `time.monotonic` at which it came; None before
        the first one.
    pace
        Seconds of sky that came in a second lately: 1 at a telescope.
    """

    def __init__(self, tsamp_s: float) -> None:
        self.first: int | None = None
        self.newest: int | None = None
        self.newest_s: float | None = None
        self._tsamp_s = tsamp_s
        # what is not yet known never lies before a sample that is asked for
        self._stops = np.full(MEMORY, -1, np.int64)
        self._times_s = np.zeros(MEMORY)
        self._count = 0

    def note(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Pass blocks on and remember their times."""
        for block in blocks:
            if len(block.spectra):
                slot = self._count % MEMORY
                now_s = time.monotonic() if block.received_s is None else block.received_s
                self._times_s[slot], self._stops[slot] = now_s, block.stop
                self._count += 1
                self.first = block.start if self.first is None else self.first
                self.newest, self.newest_s = block.stop, now_s
            yield block

    def received_at(self, sample: int) -> float:
        """Give the `time.monotonic` at which a sample had come in.

        For one that never came it is the time of the first block behind it; for one that is
        not yet there the time of the newest block, and for long forgotten ones that of the
        oldest that is remembered.
        """
        stops, times_s = self._stops.copy(), self._times_s.copy()
        behind = stops > sample
        if behind.any():
            return float(times_s[behind].min())
        return self.newest_s if self.newest_s is not None else time.monotonic()

    @property
    def pace(self) -> float:
        """Seconds of sky that came in a second, over the last blocks."""
        known = min(self._count, PACED)
        if known < PACED:
            return 1.0
        first, last = (self._count - known) % MEMORY, (self._count - 1) % MEMORY
        spent_s = float(self._times_s[last] - self._times_s[first])
        sky_s = float(self._stops[last] - self._stops[first]) * self._tsamp_s
        return sky_s / spent_s if spent_s > 0 and sky_s > 0 else 1.0
