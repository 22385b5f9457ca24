"""What two searches make of the same data: the table of the ML-PPA talk, for one observation."""

import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from ..data import Detection, Float32Array
from ..disk import write_whole
from ..plots import plot_agreement, plot_images
from ..plots.sheet import COLUMNS
from ..wire import DetectionMessage
from .lines import FLAWS

AGREEMENT = "agreement"
DISAGREEMENTS = "disagreements.png"

#: Images on the sheet of disagreements, of each kind.
MOST_SHOWN = 5 * COLUMNS


@dataclass(frozen=True, slots=True)
class Agreement:
    """Candidates of lists, the reference, against what we say of them.

    Parameters
    ----------
    lines, repeated, unread
        Lines that are candidates; those that say again what another one said to the digit;
        and those that are none.
    candidates
        What the lines become when those of one pulse are put together.
    confirmed, not_confirmed
        Of these, pulses and others.
    without_data
        Of these, those judged by their lists alone.
    both
        Confirmed ones that our search found too; none where it was not asked.
    unique
        Confirmed ones that it did not find.
    additional
        Pulses that it found and no list has.
    searched
        Whether our search was asked.
    """

    lines: int
    repeated: int
    unread: int
    candidates: int
    confirmed: int
    not_confirmed: int
    without_data: int
    both: int
    unique: int
    additional: int
    searched: bool

    @classmethod
    def of(
        cls, found: Iterable[DetectionMessage], *, repeated: int, unread: int, searched: bool
    ) -> "Agreement":
        """Count what a run has found."""
        every = list(found)
        listed = [one for one in every if one.proposed_by != "search"]
        confirmed = [one for one in listed if one.label == "pulse"]
        both = sum(one.proposed_by == "both" for one in confirmed)
        return cls(
            lines=sum(len(one.listed) for one in listed),
            repeated=repeated,
            unread=unread,
            candidates=len(listed),
            confirmed=len(confirmed),
            not_confirmed=len(listed) - len(confirmed),
            without_data=sum(one.judged_by == "list" for one in listed),
            both=both,
            unique=len(confirmed) - both if searched else 0,
            additional=sum(one.proposed_by == "search" and one.label == "pulse" for one in every),
            searched=searched,
        )

    def as_json(self) -> dict[str, Any]:
        """Give the counts by name."""
        return asdict(self)

    def lines_of_text(self) -> list[str]:
        """Give the table as lines for people."""
        every = max(self.candidates, 1)

        def row(name: str, count: int, share: bool = True) -> str:
            return f"{name:<44}{count:>7}" + (f"{100 * count / every:>7.1f} %" if share else "")

        told = [
            row("lines of the lists", self.lines, share=False),
            row("  said again", self.repeated, share=False),
            row("  not to be read", self.unread, share=False),
            row("candidates of the lists, repeats merged", self.candidates),
            row("  confirmed", self.confirmed),
            row("  not confirmed", self.not_confirmed),
            row("  (judged without data)", self.without_data),
        ]
        if self.searched:
            told += [
                row("confirmed, and found by our search", self.both),
                row("confirmed, and unique to the lists", self.unique),
                row("found additionally by our search", self.additional),
            ]
        return told

    def write(self, folder: Path) -> None:
        """Write the table as text and as JSON."""
        text = "\n".join(self.lines_of_text()) + "\n"
        write_whole(folder / f"{AGREEMENT}.txt", text.encode())
        counts = json.dumps(self.as_json(), indent=1) + "\n"
        write_whole(folder / f"{AGREEMENT}.json", counts.encode())


class Disagreements:
    """Images of what lists and we do not agree on, the brightest of each kind."""

    def __init__(self) -> None:
        self._kept: dict[str, list[tuple[float, int, str, Float32Array]]] = {}
        self._number = count()

    def take(self, detections: Iterable[Detection]) -> None:
        """Keep the images that belong here."""
        for one in detections:
            kind = _kind(one)
            if kind is None or one.image is None:
                continue
            kept = self._kept.setdefault(kind, [])
            found = one.candidate
            title = f"DM {found.dm:.1f}\nS/N {found.snr:.1f}, p {one.probability:.2f}"
            heapq.heappush(kept, (found.snr, next(self._number), title, one.image))
            if len(kept) > MOST_SHOWN:
                heapq.heappop(kept)

    def draw(self, candidates: Sequence[DetectionMessage], folder: Path) -> None:
        """Draw all candidates by verdict, and a sheet of the images, if there are any."""
        plot_agreement(candidates, folder / f"{AGREEMENT}.png")
        groups = {
            kind: [(title, image) for *_, title, image in sorted(kept, key=lambda one: -one[0])]
            for kind, kept in sorted(self._kept.items())
        }
        if groups:
            plot_images(groups, folder / DISAGREEMENTS)


def remove_pages(folder: Path) -> None:
    """Take away what an earlier run told of its lists."""
    names = (f"{AGREEMENT}.txt", f"{AGREEMENT}.json", f"{AGREEMENT}.png", DISAGREEMENTS, FLAWS)
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _kind(one: Detection) -> str | None:
    if one.candidate.listed:
        return None if one.label == "pulse" else "not confirmed"
    return "found in addition" if one.label == "pulse" else None
