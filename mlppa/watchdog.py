"""Holds the time that batches take against the time that the telescope takes.

It runs for every batch, so it cannot see that none comes: whoever asks for the health of a
stream looks at the clock himself.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .classify import Network
from .data import Report
from .search import SearchPlan

#: Who works at the same time as the others: the stages of each thread of a live stream, but
#: for those that mostly wait.
THREADS = {
    "input": ("inject",),
    "clean": ("clean",),
    "search": ("screen", "search", "images", "classify", "decide"),
    "publish": ("publish", "plot"),
}

#: Up it goes more slowly than down.
UP_TIMES = 3


@dataclass(frozen=True, slots=True)
class Rung:
    """A step of the ladder: with what candidates are judged on it.

    Parameters
    ----------
    plan
        The search, with the threshold and the images of this step.
    network, min_probability
        What judges, and from which probability a candidate is a pulse.
    said
        What is given up on it, in a few words.
    number
        0 for the first one, on which nothing is.
    """

    plan: SearchPlan
    network: Network
    min_probability: float
    said: str = "all"
    number: int = 0


class Ladder:
    """The rungs of a stream, and the one it is on: chosen in one thread, read in another."""

    def __init__(self, rungs: Sequence[Rung]) -> None:
        self.rungs = tuple(rungs)
        self.step = 0

    @property
    def now(self) -> Rung:
        """The rung to work on; a ladder that has become shorter ends before the step."""
        rungs = self.rungs
        return rungs[min(self.step, len(rungs) - 1)]


@dataclass(frozen=True, slots=True)
class Limits:
    """When a stream is late, and when it has recovered.

    Parameters
    ----------
    late, recovered
        Smoothed part of real time above which it is late, and under which it has recovered.
    smooth_s
        Time over which it is smoothed.
    patience_s
        Time from a step to the next one down; up it is three times as long.
    """

    late: float = 1.0
    recovered: float = 0.8
    smooth_s: float = 3.0
    patience_s: float = 5.0


@dataclass
class Watchdog:
    """Watches over one stream, and chooses the rung of its ladder.

    Parameters
    ----------
    limits
        When to step.
    ladder
        The last rung is as far down as it goes.
    clock
        Gives the time in seconds.

    Attributes
    ----------
    ratio
        Smoothed part of real time that the busiest thread needs.
    late
        Whether it is more than there is.
    steps
        How often it went down and up.
    """

    limits: Limits
    ladder: Ladder
    clock: Callable[[], float] = time.monotonic
    ratio: float = 0.0
    late: bool = False
    steps: dict[str, int] = field(default_factory=lambda: {"down": 0, "up": 0})
    _seconds: dict[str, float] = field(default_factory=dict)
    _stepped_s: float = float("-inf")

    def judge(
        self, report: Report, seconds: Mapping[str, float], pace: float, backlog: float
    ) -> str | None:
        """Take in a batch.

        Parameters
        ----------
        report
            Of the batch.
        seconds
            What every stage has taken until now, as a stopwatch has it.
        pace
            Seconds of sky that come in a second: the budget is as much shorter.
        backlog
            How full the queue at the input is, 0 to 1.

        Returns
        -------
        news
            "late", "recovered", "down" or "up" where something changed; else None.
        """
        spent = {stage: s - self._seconds.get(stage, 0.0) for stage, s in seconds.items()}
        self._seconds = dict(seconds)
        budget_s = report.budget.budget_s / max(pace, 1e-9)
        if not report.coverage.searched or budget_s <= 0:
            return None
        busy_s = max(sum(spent.get(stage, 0.0) for stage in stages) for stages in THREADS.values())
        weight = min(budget_s / self.limits.smooth_s, 1.0)
        self.ratio += weight * (busy_s / budget_s - self.ratio)
        return self._news(backlog)

    def _news(self, backlog: float) -> str | None:
        limits, now_s = self.limits, self.clock()
        over = self.ratio > limits.late or backlog > 0.5
        under = self.ratio < limits.recovered and backlog < 0.25
        waited_s = now_s - self._stepped_s
        if over:
            was, self.late = self.late, True
            if waited_s >= limits.patience_s and self.ladder.step + 1 < len(self.ladder.rungs):
                return self._step(+1, now_s)
            return None if was else "late"
        if under:
            was, self.late = self.late, False
            if waited_s >= UP_TIMES * limits.patience_s and self.ladder.step > 0:
                return self._step(-1, now_s)
            return "recovered" if was else None
        return None

    def _step(self, by: int, now_s: float) -> str:
        self.ladder.step = self.ladder.now.number + by
        self._stepped_s = now_s
        way = "down" if by > 0 else "up"
        self.steps[way] += 1
        return way
