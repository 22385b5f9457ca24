"""Listed candidates and those of our own search, measured alike, become one stream."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..data import Candidate, FilterbankHeader, History, Listed, Searched
from ..dispersion import channel_shape, dm_per_sample
from ..search import SearchPlan
from ..search.cluster import TRIGGER, Triggers, as_triggers, in_bowtie, owners
from ..search.refine import refine
from .places import LISTED_TIME_S, Place


def join(
    searched: Iterable[Searched], places: Sequence[Place], plan: SearchPlan, left: list[Listed]
) -> Iterator[Searched]:
    """Measure listed candidates where they lie, and merge what is one pulse.

    Parameters
    ----------
    searched
        The stream, with what our own search proposes, if there is one.
    places
        Where the listed ones are.
    plan
        By which the stream was searched.
    left
        Takes up those that cannot be measured, since too little of them is in the data.

    Yields
    ------
    searched
        One per item; candidates know the listed ones that they stand for.
    """
    waiting = sorted(places, key=lambda one: -one.complete(plan))
    pool: list[Candidate] = []
    for item in searched:
        # a stretch without samples marks the end of what waits
        ended = item.coverage.start == item.coverage.stop
        # a gap is reached too: what lies before it is measured while its samples are there
        reached = max((one.stop for one in item.history.gulps), default=0)
        reached = max(reached, item.coverage.stop)
        while waiting and waiting[-1].complete(plan) <= reached:
            pool += _measured(waiting.pop(), item.history, plan, left)
        if ended:
            here = [one for one in waiting if one.sample <= reached]
            waiting = [one for one in waiting if one.sample > reached]
            for one in reversed(here):
                pool += _measured(one, item.history, plan, left)
        pool += item.candidates
        ready, pool = _decided(pool, np.inf if ended else reached - plan.hold, plan)
        coverage = replace(item.coverage, candidates=len(ready))
        yield Searched(coverage, tuple(ready), item.history)
    left += [one.listed for one in reversed(waiting)]


def peaks_of(
    header: FilterbankHeader,
    samples: Sequence[float],
    dms: Sequence[float],
    widths: Sequence[float],
    snrs: Sequence[float],
) -> Triggers:
    """Give what is known of pulses as peaks at the band's mean delay, shape (n,)."""
    peaks = np.zeros(len(samples), TRIGGER)
    peaks["sweep"] = np.array(dms) / dm_per_sample(header.freqs_mhz, header.tsamp_s)
    mean_shape = float(channel_shape(header.freqs_mhz).mean())
    peaks["time"] = np.array(samples) + mean_shape * peaks["sweep"]
    peaks["width"], peaks["snr"] = widths, snrs
    return peaks


def is_repeat(peak: Triggers, known: Triggers) -> list[bool]:
    """Tell of which known peaks one is only another line: a wing of it, or it of them."""
    return [
        bool(wing or in_bowtie(peak, other)[0])
        for wing, other in zip(in_bowtie(known, peak[0]), known, strict=True)
    ]


def _measured(
    place: Place, history: History, plan: SearchPlan, left: list[Listed]
) -> list[Candidate]:
    """Measure a listed candidate exactly; where that cannot be done, it is left."""
    trigger = np.zeros(1, TRIGGER)[0]
    trigger["time"], trigger["sweep"] = place.time(plan), place.sweep(plan)
    trigger["width"] = min(place.width_samples, plan.max_width)
    trigger["slack"] = max(float(trigger["width"]), LISTED_TIME_S / plan.tsamp_s)
    found = refine(trigger, history, plan)
    while found is not None and found.width_samples <= np.rint(trigger["width"] / 2) > 0:
        # narrower ones were not tried: it may be a wing of a much narrower pulse
        trigger["width"] = trigger["slack"] = found.width_samples
        trigger["sweep"] = found.dm / plan.unit_dm
        trigger["time"] = found.sample + plan.mean_shape * trigger["sweep"]
        found = refine(trigger, history, plan)
    if found is None:
        left.append(place.listed)
        return []
    first, last = history.gulps[0].first, history.gulps[-1].last
    begins, ends = found.sample, found.sample + found.dm / plan.unit_dm
    partial = begins - found.width_samples < first or ends + found.width_samples > last
    return [replace(found, listed=(place.listed,), searched=False, partial=partial)]


def _decided(
    pool: list[Candidate], until: float, plan: SearchPlan
) -> tuple[list[Candidate], list[Candidate]]:
    """Merge what is one pulse; give those that arrived before ``until``, and those that wait."""
    if not pool:
        return [], []
    # of equals our own measurement leads
    pool = sorted(pool, key=lambda one: (-one.snr, not one.searched))
    peaks = as_triggers(pool, plan)
    owner = owners(peaks)
    ready, wait = [], []
    for leader in np.unique(owner):
        group = [pool[number] for number in np.flatnonzero(owner == leader)]
        if peaks["time"][leader] > until:
            wait += group
            continue
        listed = tuple(row for one in group for row in one.listed)
        searched = any(one.searched for one in group)
        ready.append(replace(pool[leader], listed=listed, searched=searched))
    return sorted(ready, key=lambda one: one.sample), wait
