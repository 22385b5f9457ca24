"""What two searches make of the same data: the table of the ML-PPA talk, for one observation."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ..wire import DetectionMessage


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
