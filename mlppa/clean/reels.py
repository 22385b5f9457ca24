"""Clean samples with what came before them in front: what a screen reads.

Some gulps lie one behind the other in one piece of memory, a reel, so that the past of most
of them is there already: only where the reel begins anew, or the stream has a gap, the last
samples are copied. Room is taken again once nobody holds what stands in it: who holds a gulp
may keep it.
"""

import sys
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ..data import Int8Array
from ..rows import empty_rows, whole_lines

#: References to an array that nobody else has, in CPython up to 3.13: a list's, a loop's, and
#: that of who counts.
FREE = 3


@dataclass(frozen=True, slots=True)
class Room:
    """What those who read clean gulps need.

    Parameters
    ----------
    halo
        Past samples in front of every gulp.
    reach
        Samples behind the end of the data that sweeps reach.
    gulps
        How many are in use at a time; should they be more, there is more room.
    """

    halo: int = 0
    reach: int = 0
    gulps: int = 1

    @property
    def past(self) -> int:
        """Give the past samples that lie in front of a gulp: they fill cache lines."""
        return whole_lines(self.halo)

    def lead(self, nsamples: int) -> int:
        """Tell in how many gulps of so many samples lies the past of the one behind them."""
        return -(-self.past // nsamples)

    def slots(self, nsamples: int) -> int:
        """Tell for how many gulps there is room."""
        # what is written must be nobody's past; and what is used stands still while gulps of
        # nothing pass, behind which another one begins
        return self.gulps + 3 * self.lead(nsamples)

    def row(self, nsamples: int) -> int:
        """Give the length of a row, for gulps of so many samples."""
        return self.past + self.slots(nsamples) * nsamples


class Reel:
    """Room for gulps that come one after the other, and the past of the newest.

    Parameters
    ----------
    room
        How much is needed.
    shape
        Samples and channels of a gulp.
    """

    def __init__(self, room: Room, shape: tuple[int, int]) -> None:
        self._nsamples, self._nchans = shape
        self._room, self._past, self._lead = room, room.past, room.lead(self._nsamples)
        self._start: int | None = None
        self._number = 0
        self._begin_anew()

    @property
    def window(self) -> Int8Array:
        """The newest gulp and its past, shape (nchans, past + nsamples)."""
        return self._window(self._owners[self._number].reshape(self._rows.shape))

    def _window(self, rows: Int8Array) -> Int8Array:
        first = self._number * self._nsamples
        return rows[: self._nchans, first : first + self._past + self._nsamples]

    def advance(self, start: int) -> Int8Array:
        """Make room for the gulp that begins at sample ``start``.

        Returns
        -------
        rows
            To be written to, shape (nchans, nsamples); the past in front of it is there.
        """
        passed = sys.maxsize if self._start is None else start - self._start
        self._start = start
        # gulps that did not come have room, too, as far as they are some gulp's past
        number = self._number + min(passed // self._nsamples, self._lead + 1)
        if number < self._slots and self._is_free(self._number + 1, number):
            self._blank(self._number + 1, number)
            self._number = number
        else:
            self._wind_back(passed)
        return self.window[:, self._past :]

    def _blank(self, first: int, last: int) -> None:
        """Leave nothing in the room of gulps, from one to before another."""
        begin, end = (self._past + number * self._nsamples for number in (first, last))
        self._rows[:, begin:end] = 0

    def _wind_back(self, passed: int) -> None:
        """Go to the front, with what is the past there after so many samples."""
        # not by its owner, who would be held
        before = self._window(self._rows)
        if not self._is_free(0, 0):
            self._room = replace(self._room, gulps=self._room.gulps + 1)
            self._begin_anew()
        self._number = 0
        new = self._window(self._rows)
        kept = min(max(self._past + self._nsamples - passed, 0), self._past)
        # row by row: of both as a whole numpy cannot tell that they lie apart, and copies twice
        for old, row in zip(before, new, strict=True):
            row[:kept] = old[passed : passed + kept]
        new[:, kept : self._past] = 0

    def _is_free(self, first: int, last: int) -> bool:
        """Whether nobody holds what would be written over from one gulp to another."""
        # the past of those behind them lies there, too
        for owner in islice(self._owners, first, last + self._lead + 1):
            if sys.getrefcount(owner) > FREE:
                return False
        return True

    def _begin_anew(self) -> None:
        """Take a piece of memory; that before it stays with those who hold a gulp of it."""
        self._slots = self._room.slots(self._nsamples)
        rows = empty_rows(self._nchans, self._room.row(self._nsamples))
        assert rows.base is not None
        self._rows, whole = rows.base, rows.base.reshape(-1)
        # views of views tell of the first owner only: each gulp has one of its own
        self._owners: list[NDArray[np.int8]] = [
            np.frombuffer(memoryview(whole), np.int8) for _ in range(self._slots)
        ]
