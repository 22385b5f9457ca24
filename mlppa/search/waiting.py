"""Raw peaks that wait for stronger ones, until they are measured or known for wings."""

import logging
from typing import TYPE_CHECKING

import numpy as np

from ..data import Candidate, History
from ..metrics import STORM_DROPPED
from .cluster import TRIGGER, Triggers, as_triggers, is_explained, is_repeated, owners
from .refine import companions, refine

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
        self._peaks: Triggers = np.empty(0, TRIGGER)
        self._final: list[Candidate] = []
        self._storm = False

    def settle(
        self, peaks: Triggers, until: float, history: History, nsamples: int
    ) -> tuple[tuple[Candidate, ...], bool]:
        """Take in raw peaks, and measure the groups that nothing can join any more.

        Parameters
        ----------
        peaks
            What the screen found new.
        until
            Groups whose leader arrived before that sample are due.
        history
            Where they are measured.
        nsamples
            How much time there is for it.

        Returns
        -------
        candidates
            Those that are new, in the order of time.
        storm
            Whether anything had to be dropped.
        """
        plan = self._plan
        kept = _strongest(peaks, MOST_TRIGGERS)
        self._peaks = np.concatenate([self._peaks, kept])
        owner = owners(self._peaks)
        due = self._peaks["time"][owner] <= until
        leaders = self._peaks[np.unique(owner[due])]
        self._peaks = self._peaks[~due]
        most = plan.most_measured(nsamples)
        chosen = _strongest(leaders, most)
        new = self._new(self._measured(chosen, until, history, most - len(chosen)))
        oldest = history.gulps[-1].stop - 2 * plan.memory
        self._final = [c for c in self._final if c.sample > oldest] + new
        return tuple(new), self._count(len(peaks) - len(kept), len(leaders) - len(chosen))

    def _measured(
        self, leaders: Triggers, until: float, history: History, room: int
    ) -> list[Candidate]:
        """Measure leaders, and as many other bursts in their groups as there is room for.

        Those that are not yet due wait on.
        """
        plan = self._plan
        measured = []
        for leader in leaders:
            candidate = refine(leader, history, plan)
            measured.append(candidate)
            if candidate is not None and candidate.snr >= plan.threshold and room > 0:
                beside = companions(candidate, leader, history, plan)
                later = beside["time"] > until
                self._peaks = np.concatenate([self._peaks, beside[later]])
                due = beside[~later][:room]
                room -= len(due)
                measured += [refine(one, history, plan) for one in due]
        return [c for c in measured if c is not None and c.snr >= plan.threshold]

    def _new(self, good: list[Candidate]) -> list[Candidate]:
        """Leave out what is a wing of a stronger one, or of what was found before."""
        plan = self._plan
        good.sort(key=lambda c: -c.snr)
        peaks, known = as_triggers(good, plan), as_triggers(self._final, plan)
        new: list[int] = []
        for number, peak in enumerate(peaks):
            found = np.concatenate([known, peaks[new]])
            if not is_explained(peak, found) and not is_repeated(peak, known):
                new.append(number)
        return sorted((good[number] for number in new), key=lambda c: c.sample)

    def _count(self, peaks: int, candidates: int) -> bool:
        STORM_DROPPED.labels(kind="peak").inc(peaks)
        STORM_DROPPED.labels(kind="candidate").inc(candidates)
        before, self._storm = self._storm, peaks + candidates > 0
        if self._storm and not before:
            logger.warning("storm: more peaks than real time allows, the weakest are left out")
        return self._storm


def _strongest(peaks: Triggers, most: int) -> Triggers:
    """Give the strongest peaks, where there are too many; of equals the first."""
    if len(peaks) <= most:
        return peaks
    return peaks[np.sort(np.argsort(-peaks["snr"], kind="stable")[:most])]
