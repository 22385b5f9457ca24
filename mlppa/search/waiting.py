"""Raw peaks that wait for stronger ones, until they are measured or known for wings."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..data import Candidate, History
from ..metrics import STORM_DROPPED
from .cluster import TRIGGER, Triggers, as_triggers, is_explained, owners
from .refine import companions, refine
from .screen import SCREEN_MARGIN
from .subbands import PART_EXCESS, SubBand, distinct

if TYPE_CHECKING:
    from . import SearchPlan

logger = logging.getLogger(__name__)

#: Raw peaks kept of one gulp; more are a storm, of which the strongest are kept.
MOST_TRIGGERS = 200_000


class Waiting:
    """What the screen found and nobody has decided on yet.

    In a storm the weakest are dropped: raw peaks before they are grouped, leaders of
    groups before they are measured.
    """

    def __init__(self, plan: "SearchPlan") -> None:
        self._plan = plan
        self._peaks: list[Triggers] = [np.empty(0, TRIGGER) for _ in plan.plans]
        self._final: list[Candidate] = []
        self._storm = False
        self._threshold = plan.threshold

    def settle(
        self,
        peaks: Sequence[Triggers],
        frontier: float,
        history: History,
        nsamples: int,
        threshold: float,
    ) -> tuple[tuple[Candidate, ...], bool]:
        """Take in raw peaks, and measure the groups that nothing can join any more.

        Parameters
        ----------
        peaks
            What the screen found new, in the whole band and in each part.
        frontier
            All samples before this one have been searched.
        history
            Where they are measured.
        nsamples
            How much time there is for it.
        threshold
            S/N from which a peak is a candidate now.

        Returns
        -------
        candidates
            Those that are new, in the order of time.
        storm
            Whether anything had to be dropped.
        """
        plan, self._threshold = self._plan, threshold
        kept = [_strongest(one, MOST_TRIGGERS) for one in peaks]
        leaders = [self._due(number, one, frontier) for number, one in enumerate(kept)]
        if threshold > plan.threshold:
            leaders = [one[one["snr"] >= SCREEN_MARGIN * threshold] for one in leaders]
        most = plan.most_measured(nsamples)
        snrs = np.sort(np.concatenate([one["snr"] for one in leaders]))
        least = snrs[-most] if len(snrs) > most else -np.inf
        chosen = [one[one["snr"] >= least] for one in leaders]
        room = most - sum(map(len, chosen))
        good = self._measured(chosen[0], frontier, history, room)
        in_parts = [pair for pair in zip(plan.subbands, chosen[1:], strict=True) if len(pair[1])]
        held = self._leaders() if in_parts else self._peaks[0]
        for part, these in in_parts:
            known = as_triggers([part.of_part(c) for c in (*self._final, *good)], part.plan)
            seen = np.concatenate([known, part.seen(held)])
            good += measured_in(part, these, history, seen, threshold)
        new = distinct(good, self._final, plan)
        oldest = history.gulps[-1].stop - 2 * plan.memory
        self._final = [c for c in self._final if c.sample > oldest] + new
        return tuple(new), self._count(_fewer(peaks, kept), _fewer(leaders, chosen))

    def _due(self, number: int, peaks: Triggers, frontier: float) -> Triggers:
        """Take in raw peaks of a part of the band; give, and forget, the leaders that are due."""
        waiting = self._peaks[number] = np.concatenate([self._peaks[number], peaks])
        ripe = self._ripe(number, waiting, frontier)
        if not ripe.any():
            return waiting[:0]
        owner = owners(waiting)
        due = ripe[owner]
        self._peaks[number] = waiting[~due]
        leaders: Triggers = waiting[np.unique(owner[due])]
        return leaders

    def _leaders(self) -> Triggers:
        """Give the strongest of each group that waits in the whole band."""
        waiting = self._peaks[0]
        leaders: Triggers = waiting[np.unique(owners(waiting))]
        return leaders

    def _ripe(self, number: int, peaks: Triggers, frontier: float) -> NDArray[np.bool_]:
        """Tell which leaders of a part of the band have waited long enough."""
        plan = self._plan
        # what goes on beside a part of the band tells whether it is a chirp
        there = plan.subbands[number - 1].in_band(peaks) if number else peaks
        return np.asarray(there["time"] + plan.wait(there) <= frontier)

    def _measured(
        self, leaders: Triggers, frontier: float, history: History, room: int
    ) -> list[Candidate]:
        """Measure leaders, and as many other bursts in their groups as there is room for.

        Those that are not yet due wait on.
        """
        plan = self._plan
        measured = []
        for leader in leaders:
            candidate = refine(leader, history, plan)
            measured.append(candidate)
            if candidate is not None and candidate.snr >= self._threshold and room > 0:
                beside = companions(candidate, leader, history, plan)
                later = ~self._ripe(0, beside, frontier)
                self._peaks[0] = np.concatenate([self._peaks[0], beside[later]])
                due = beside[~later][:room]
                room -= len(due)
                measured += [refine(one, history, plan) for one in due]
        return [c for c in measured if c is not None and c.snr >= self._threshold]

    def _count(self, peaks: int, candidates: int) -> bool:
        STORM_DROPPED.labels(kind="peak").inc(peaks)
        STORM_DROPPED.labels(kind="candidate").inc(candidates)
        before, self._storm = self._storm, peaks + candidates > 0
        if self._storm and not before:
            logger.warning("storm: more peaks than real time allows, the weakest are left out")
        return self._storm


def measured_in(
    part: SubBand,
    leaders: Triggers,
    history: History,
    seen: Triggers,
    threshold: float,
) -> list[Candidate]:
    """Measure leaders in their part of the band, but for wings of what else is seen there."""
    inside = history.part(part.channels)
    weighed = leaders.copy()
    weighed["snr"] /= PART_EXCESS
    new = [
        one for one, weight in zip(leaders, weighed, strict=True) if not is_explained(weight, seen)
    ]
    measured = [refine(leader, inside, part.plan) for leader in new]
    return [part.of_band(c) for c in measured if c is not None and c.snr >= threshold]


def _fewer(before: Sequence[Triggers], after: Sequence[Triggers]) -> int:
    return sum(map(len, before)) - sum(map(len, after))


def _strongest(peaks: Triggers, most: int) -> Triggers:
    """Give the strongest peaks, where there are too many; of equals the first."""
    if len(peaks) <= most:
        return peaks
    return peaks[np.sort(np.argsort(-peaks["snr"], kind="stable")[:most])]
