"""Clean gulps to candidates: screen, cluster, measure exactly; one pulse, one candidate."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..data import CleanGulp, Coverage, History, Searched
from ..dedisperse import BLOCK, Kernel, Octave
from ..dispersion import channel_shape, dm_per_sample
from .cluster import REACH_SWEEP, TRIGGER, Triggers
from .screen import Screen
from .subbands import SubBand
from .waiting import Waiting

#: Part of real time that measuring, cutting and classifying candidates may take in a storm.
MEASURING_SHARE = 0.4

#: ... where one of them takes this, and for each channel this: five times what a lone pulse
#: does, since what stands close is wide and moves from round to round.
COST_S = 2e-3
COST_PER_CHANNEL_S = 12e-6

#: A boxcar may be found so much wider when it is measured.
WIDENED = 1.5

#: ... but so many are measured of the shortest stretch.
LEAST_MEASURED = 16


@dataclass(frozen=True)
class SearchPlan:
    """What is searched, once the configuration has met the header.

    Parameters
    ----------
    freqs_mhz, tsamp_s
        The stream's channels and sampling time.
    octaves
        The trials.
    threshold
        S/N from which a peak is a candidate.
    res
        Pixels of an image: a candidate is held until all of its image is there.
    max_width
        Longest boxcar in samples.
    subbands
        Parts of the band that are searched by themselves too.
    prompt
        Whether a peak waits for no more than the rest of its own image, and one of a part of the
        band for what all of it shows there. Else it waits until no burst that comes later can
        have it for a wing.
    """

    freqs_mhz: NDArray[np.float64]
    tsamp_s: float
    octaves: tuple[Octave, ...]
    threshold: float
    res: int
    max_width: int
    subbands: tuple[SubBand, ...] = ()
    prompt: bool = False

    @cached_property
    def shape(self) -> NDArray[np.float64]:
        """Delay of each channel as a fraction of the sweep, shape (nchans,)."""
        return channel_shape(self.freqs_mhz)

    @cached_property
    def mean_shape(self) -> float:
        """Mean delay of the band as a fraction of the sweep.

        Seen at the mean delay, a pulse stays in place while the trial DM changes: its
        bow-tie stands upright.
        """
        return float(self.shape.mean())

    @cached_property
    def unit_dm(self) -> float:
        """DM of one sample of sweep."""
        return dm_per_sample(self.freqs_mhz, self.tsamp_s)

    @cached_property
    def halos(self) -> list[int]:
        """Past samples that the screen needs in front of each time resolution of a gulp."""
        trials = [octave for plan in self.plans for octave in plan.octaves]
        return [
            max((octave.halo for octave in trials if octave.index == index), default=0)
            for index in range(1 + max(octave.index for octave in trials))
        ]

    @property
    def reach(self) -> int:
        """Samples behind the end of the data in which what sweeps there arrives."""
        return max(halo << octave for octave, halo in enumerate(self.halos))

    @property
    def plans(self) -> tuple["SearchPlan", ...]:
        """The search of the whole band, and of each part."""
        return self, *(part.plan for part in self.subbands)

    def seen_by(self, res: int, threshold: float) -> Self:
        """Give the plan for images of so many pixels, and candidates from so much S/N on."""
        parts = [replace(part, plan=part.plan.seen_by(res, threshold)) for part in self.subbands]
        return replace(self, res=res, threshold=threshold, subbands=tuple(parts))

    @property
    def max_sweep(self) -> int:
        """Longest sweep in samples."""
        return max(int(o.sweeps[-1]) << o.index for o in self.octaves)

    @property
    def hold(self) -> int:
        """Samples after its mean arrival for which a peak waits.

        A weak peak may be the far wing of a bright burst that arrives later, and whose
        bottom of the band is yet to come; and its image must be complete.
        """
        below = 1 - self.mean_shape
        late = BLOCK << (len(self.halos) - 1)
        image = below * self.max_sweep + self.image_reach(self.max_width)
        if self.prompt:
            return int(image) + late
        wing = (REACH_SWEEP + below) * self.max_sweep + 2 * self.max_width
        return int(max(wing, image)) + late

    def wait(self, leaders: Triggers) -> NDArray[np.float64]:
        """Give the samples after their mean arrival for which leaders wait, at most `hold`.

        Wings of a burst are as wide as they are off in sweep, and their images wider by far:
        who waits for its own image waits for the burst, too, but for the faintest of them.
        """
        if not self.prompt:
            return np.full(len(leaders), float(self.hold))
        below = 1 - self.mean_shape
        # measured it may be wider than it was found
        width = np.clip(WIDENED * leaders["width"], 1, self.max_width)
        pixel = 2 ** np.maximum(np.floor(np.log2(width)) - 1, 0)
        image = np.ceil(self.res / 2 * (1 + below) + 1) * pixel
        return np.asarray(below * leaders["sweep"] + image + leaders["slack"])

    @property
    def memory(self) -> int:
        """Past samples to keep, so that everything held can still be measured and drawn."""
        above = int(self.mean_shape * self.max_sweep) + 1
        return self.hold + above + self.image_reach(self.max_width)

    def most_measured(self, nsamples: float) -> int:
        """How many candidates of that many samples can be measured in real time."""
        cost_s = COST_S + COST_PER_CHANNEL_S * len(self.freqs_mhz)
        return math.ceil(MEASURING_SHARE * nsamples * self.tsamp_s / cost_s) + LEAST_MEASURED

    def image_octave(self, width_samples: int) -> int:
        """Octave in which a pulse of that width is two to four pixels wide."""
        return max(int(np.log2(width_samples)) - 1, 0)

    def image_reach(self, width_samples: int) -> int:
        """Give the samples that an image needs on either side of the swept pulse."""
        return self.res << self.image_octave(width_samples)


class Screened(NamedTuple):
    """A clean gulp, and what stands out in it.

    Parameters
    ----------
    gulp
        What was screened.
    least
        S/N from which a peak is a candidate.
    peaks
        Raw peaks of all of the band, and of each part that is searched by itself.
    """

    gulp: CleanGulp
    least: float
    peaks: list[Triggers]


def search(gulps: Iterable[CleanGulp], plan: SearchPlan, kernel: Kernel) -> Iterator[Searched]:
    """Find pulses in a stream: `screened`, and what stands out is `measured`."""
    return measured(screened(gulps, plan, kernel), plan)


def screened(
    gulps: Iterable[CleanGulp],
    plan: SearchPlan,
    kernel: Kernel,
    gate: Callable[[], float] | None = None,
) -> Iterator[Screened]:
    """Find what stands out in a stream.

    Parameters
    ----------
    gulps
        Clean gulps in time order.
    plan
        What to search.
    kernel
        What does the dedispersion.
    gate
        Asked before every gulp: the S/N from which a peak is a candidate now, at least that
        of the plan, which it is by default.
    """
    screen = Screen(plan, kernel)
    for gulp in gulps:
        least = plan.threshold if gate is None else gate()
        yield Screened(gulp, least, screen(gulp, least))


def measured(items: Iterable[Screened], plan: SearchPlan) -> Iterator[Searched]:
    """Group what stands out, and measure one candidate of each pulse.

    Yields
    ------
    searched
        One per gulp, one for every stretch without data in between, and a last one
        without new samples that holds what was still waiting when the stream ended, and what
        of its pulses arrived behind its end.
    """
    history, waiting = History(), Waiting(plan)
    none = [np.empty(0, TRIGGER)] * len(plan.plans)
    stop, least, late = None, plan.threshold, none
    for gulp, least, peaks in items:
        if gulp.is_beyond and stop is not None:
            # no part of the history: whatever is not there reads as no signal
            late = [np.concatenate(pair) for pair in zip(late, peaks, strict=True)]
            continue
        if stop is None and gulp.shed is not None:
            stop = gulp.shed.start
        if stop is not None and gulp.start > stop:
            # what is due in the gap must be measured before the gulp behind it takes its place
            new, storm = waiting.settle(late, gulp.start, history, gulp.start - stop, least)
            late = none
            yield Searched(_missing(stop, gulp, plan, len(new), storm), new, history)
        history = history.extend(gulp, plan.memory)
        frontier = np.inf if gulp.quiet else gulp.stop
        new, storm = waiting.settle(peaks, frontier, history, len(gulp.valid), least)
        yield Searched(_coverage(gulp, plan, len(new), storm), new, history)
        stop = gulp.last
    if stop is not None:
        new, storm = waiting.settle(late, np.inf, history, plan.hold, least)
        yield Searched(_end(stop, len(new), storm), new, history)


def look(gulps: Iterable[CleanGulp], plan: SearchPlan) -> Iterator[Searched]:
    """Follow a stream as `search` does, but propose nothing: somebody else does.

    Where the stream jumps, what waits is let go as at its end.
    """
    history = History()
    stop = None
    for gulp in gulps:
        if gulp.is_beyond:
            continue
        if stop is not None and gulp.start > stop:
            yield Searched(_end(stop, 0, storm=False), (), history)
            history = History()
        history = history.extend(gulp, plan.memory)
        yield Searched(_coverage(gulp, plan, 0, storm=False), (), history)
        stop = gulp.last
    if stop is not None:
        yield Searched(_end(stop, 0, storm=False), (), history)


def _coverage(gulp: CleanGulp, plan: SearchPlan, candidates: int, storm: bool) -> Coverage:
    searched = int(np.count_nonzero(gulp.valid))
    elapsed = gulp.last - gulp.first
    return Coverage(
        start=gulp.first,
        stop=gulp.last,
        searched=searched,
        masked=elapsed - searched - gulp.missing,
        missing=gulp.missing,
        masked_channels=int(np.count_nonzero(~gulp.good)),
        candidates=candidates,
        storm=storm,
        decided_to=min(_decided(gulp.stop, plan), gulp.last),
    )


def _missing(
    start: int, behind: CleanGulp, plan: SearchPlan, candidates: int, storm: bool
) -> Coverage:
    stop, shed = behind.start, behind.shed.nsamples if behind.shed else 0
    return Coverage(
        start=start,
        stop=stop,
        searched=0,
        masked=0,
        missing=stop - start - shed,
        shed=shed,
        candidates=candidates,
        storm=storm,
        decided_to=_decided(stop, plan),
    )


def _end(stop: int, candidates: int, storm: bool) -> Coverage:
    return Coverage(
        start=stop,
        stop=stop,
        searched=0,
        masked=0,
        missing=0,
        candidates=candidates,
        storm=storm,
        decided_to=stop,
    )


def _decided(frontier: int, plan: SearchPlan) -> int:
    """Arrivals at the top of the band before this sample are settled, whatever their DM."""
    return max(frontier - plan.hold - plan.max_sweep, 0)
