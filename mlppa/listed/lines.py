"""What becomes of the lines of lists: new, said again, or not to be read."""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..data import Listed
from ..disk import write_whole
from ..formats.lists import Flaw
from ..metrics import LIST_LINES
from ..wire import ListedMessage

log = logging.getLogger(__name__)

#: Lines that are not as they should be are told one by one up to so many ...
MOST_TOLD = 10

#: ... and kept up to so many.
MOST_KEPT = 1000

#: Where they are told, one by one.
FLAWS = "flaws.txt"

#: Lines that are remembered, so that each is judged once: as many as some years bring.
MOST_REMEMBERED = 2_000_000

#: Causes that are counted one by one; more are counted together.
MOST_CAUSES = 100
OTHER_CAUSES = "other causes"

#: A line, for telling it from others.
type Key = tuple[object, ...]


def key_of(row: Listed | ListedMessage) -> Key:
    """Tell a line by all that it says; without a date, by its list as well."""
    what = row.beam, row.file, row.dm and round(row.dm, 6), row.snr, row.f_lo_mhz, row.f_hi_mhz
    width_ms = None if row.width_ms is None else round(row.width_ms, 9)
    if row.mjd is not None:
        return "dated", row.mjd, width_ms, *what
    return "undated", row.path, row.time_s, row.sample, row.width_samples, width_ms, *what


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

    known: dict[Key, None] = field(default_factory=dict)
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
            key = key_of(one)
            self.repeated += key in self.known
            LIST_LINES.labels(fate="repeated" if key in self.known else "candidate").inc()
            if key not in self.known:
                self.remember(key)
                rows.append(one)
        return rows

    def remember(self, key: Key) -> None:
        """Know a line from now on; of very many the oldest are forgotten."""
        self.known[key] = None
        if len(self.known) > MOST_REMEMBERED:
            del self.known[next(iter(self.known))]

    def take_flaw(self, flaw: Flaw) -> None:
        """Count what is not as it should be, and tell it unless there is much of it."""
        if not flaw.kept:
            self.unread += 1
            LIST_LINES.labels(fate="unread").inc()
        known = flaw.cause in self.causes or len(self.causes) < MOST_CAUSES
        self.causes[flaw.cause if known else OTHER_CAUSES] += 1
        if len(self.flaws) < MOST_KEPT:
            self.flaws.append(flaw)
        told = sum(self.causes.values())
        if told <= MOST_TOLD:
            log.warning("%s%s", flaw, "" if flaw.kept else "; the line is left out")
        elif told == MOST_TOLD + 1:
            log.warning("more lines are not as they should be: they are counted")

    def write(self, folder: Path) -> None:
        """Write what is not as it should be, one by one, if there is any."""
        if self.flaws:
            write_whole(folder / FLAWS, "".join(f"{one}\n" for one in self.flaws).encode())
