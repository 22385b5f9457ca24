"""What becomes of the lines of lists: new, said again, or not to be read."""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from ..data import Listed
from ..formats.lists import Flaw
from ..metrics import LIST_LINES

log = logging.getLogger(__name__)

#: Lines that are not as they should be are told one by one up to so many ...
MOST_TOLD = 10

#: ... and kept up to so many.
MOST_KEPT = 1000

#: A line, for telling it from others: beam, date, DM, width and S/N.
type Key = tuple[str | None, float, float, float | None, float | None]


class Line(Protocol):
    """A line of a list, as read or as a message has it."""

    @property
    def beam(self) -> str | None:
        """Name of its beam."""

    @property
    def dm(self) -> float:
        """In pc cm^-3."""

    @property
    def snr(self) -> float | None:
        """Signal to noise."""

    @property
    def width_ms(self) -> float | None:
        """Length of the boxcar."""


def key_of(line: Line, moment: float) -> Key:
    """Tell a line by what it says, ``moment`` being its date, or else its time or sample."""
    width_ms = None if line.width_ms is None else round(line.width_ms, 9)
    return line.beam, moment, round(line.dm, 6), width_ms, line.snr


def _moment(row: Listed) -> float:
    if row.mjd is not None:
        return row.mjd
    # no date is negative
    return -1.0 - (row.time_s if row.time_s is not None else float(row.sample or 0))


@dataclass
class Lines:
    """All lines of a run.

    Parameters
    ----------
    known
        Those that are candidates: each is judged once.
    repeated, unread
        How many said again what another one said, and how many were none.
    causes
        What was wrong, and how often.
    flaws
        The first of those that are not as they should be.
    """

    known: set[Key] = field(default_factory=set)
    repeated: int = 0
    unread: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    flaws: list[Flaw] = field(default_factory=list)

    def fresh(self, found: Iterable[Listed | Flaw]) -> list[Listed]:
        """Give new candidates; count and tell what is none."""
        rows = []
        for one in found:
            if isinstance(one, Flaw):
                self.take_flaw(one)
                continue
            key = key_of(one, _moment(one))
            self.repeated += key in self.known
            LIST_LINES.labels(fate="repeated" if key in self.known else "candidate").inc()
            if key not in self.known:
                self.known.add(key)
                rows.append(one)
        return rows

    def take_flaw(self, flaw: Flaw) -> None:
        """Count what is not as it should be, and tell it unless there is much of it."""
        if not flaw.kept:
            self.unread += 1
            LIST_LINES.labels(fate="unread").inc()
        self.causes[flaw.cause] += 1
        if len(self.flaws) < MOST_KEPT:
            self.flaws.append(flaw)
        told = sum(self.causes.values())
        if told <= MOST_TOLD:
            log.warning("%s%s", flaw, "" if flaw.kept else "; the line is left out")
        elif told == MOST_TOLD + 1:
            log.warning("more lines are not as they should be: see flaws.txt at the end")
