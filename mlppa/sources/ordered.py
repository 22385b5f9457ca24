"""Pieces of a stream in the order of their samples, whatever a network did to them."""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from ..data import Block
from ..metrics import HEAPS

#: A jump of more windows than this is not believed of one piece alone. With windows of half
#: a second that is more than an hour.
LEAP = 10_000

#: So many pieces that go on from each other are believed, wherever they are.
SURE = 3


class Anew(Exception):  # noqa: N818 - it is no error
    """The counter was set back: an observation ends, and another begins.

    Parameters
    ----------
    pieces
        The first of the new one, in order: give them to the next `Sorter`.
    """

    def __init__(self, pieces: Sequence[Block]) -> None:
        super().__init__(f"sample {pieces[0].start}")
        self.pieces = tuple(pieces)


class Sorter:
    """Gives pieces in rising order, each once.

    A piece that does not follow is held back until what is between has come, or until the
    newest piece is a window past it: then the hole is a gap. So the stream begins with the
    earliest piece of its first window.

    Parameters
    ----------
    window
        How many samples a late piece may be behind the newest.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._waiting: list[Block] = []
        self._strays: list[Block] = []
        self._given: deque[tuple[int, int]] = deque()
        self._newest: int | None = None
        self._next: int | None = None

    @property
    def next_start(self) -> int | None:
        """Index after the last block that was given; None before the first."""
        return self._next

    def put(self, block: Block) -> list[Block]:
        """Take a piece, and give those that are in order now.

        Raises
        ------
        Anew
            Some pieces in a row were far behind all others: the counter was set back. What
            still waits here is had by `flush`.
        """
        if not len(block.spectra):
            _count("malformed")
            return []
        if self._is_far(block):
            pieces = self._believe(block)
        else:
            self._give_up_strays()
            pieces = [block]
        for piece in pieces:
            self._place(piece)
        return self._ready()

    def flush(self) -> list[Block]:
        """Give all that waits, in order: nothing more will come for a while."""
        return [self._give() for _ in range(len(self._waiting))]

    def _is_far(self, block: Block) -> bool:
        if self._newest is None:
            return False
        behind = block.stop + self._window < self._newest
        return behind or block.start > self._newest + LEAP * self._window

    def _believe(self, block: Block) -> list[Block]:
        """Note a piece that is far away; give it when others agree with it."""
        row = self._strays
        reach = self._window + len(block.spectra)
        if row and not row[-1].start - reach <= block.start <= row[-1].stop + reach:
            self._give_up_strays()
            row = self._strays
        if any(stray.start == block.start for stray in row):
            _count("duplicate")
            return []
        row.append(block)
        if len(row) < SURE:
            return []
        self._strays = []
        row.sort(key=_start)
        if self._newest is not None and row[0].start < self._newest:
            raise Anew(row)
        return row

    def _give_up_strays(self) -> None:
        if self._strays:
            _count("stray", len(self._strays))
            self._strays = []

    def _place(self, block: Block) -> None:
        """Put a piece among those that wait, if it fits there."""
        place = bisect_right(self._waiting, block.start, key=_start)
        if fate := self._misfit(block, place):
            _count(fate)
            return
        self._waiting.insert(place, block)
        self._newest = max(block.start, block.start if self._newest is None else self._newest)

    def _misfit(self, block: Block, place: int) -> str | None:
        """Tell why a piece cannot be used, if so."""
        before = self._waiting[place - 1] if place else None
        after = self._waiting[place] if place < len(self._waiting) else None
        if before is not None and before.start == block.start:
            return "duplicate"
        if self._next is not None and block.start < self._next:
            if any(start == block.start for start, _ in self._given):
                return "duplicate"
            return "late" if block.stop <= self._next else "malformed"
        if (before and before.stop > block.start) or (after and after.start < block.stop):
            return "malformed"
        return None

    def _ready(self) -> list[Block]:
        ready = []
        while self._waiting and (
            self._waiting[0].start == self._next
            or (self._newest or 0) - self._waiting[0].start >= self._window
        ):
            ready.append(self._give())
        return ready

    def _give(self) -> Block:
        block = self._waiting.pop(0)
        self._next = block.stop
        self._given.append((block.start, block.stop))
        while self._given and self._given[0][1] + self._window < (self._newest or 0):
            self._given.popleft()
        _count("used")
        return block


def _start(block: Block) -> int:
    return block.start


def _count(fate: str, pieces: int = 1) -> None:
    HEAPS.labels(fate=fate).inc(pieces)
