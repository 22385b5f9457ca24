"""Clean gulps to candidates: screen, cluster, measure exactly; one pulse, one candidate."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..clean import SIGMA
from ..data import Candidate, CleanGulp, Coverage, History, Int8Array, Searched
from ..dedisperse import BLOCK, MARGIN, Kernel, Octave, empty_rows
from ..dispersion import channel_shape, dm_per_sample
from .cluster import TRIGGER, Triggers, as_triggers, is_explained, leaders
from .refine import refine

#: The screen misses a few percent of a pulse's S/N, so it triggers this much lower.
SCREEN_MARGIN = 0.92

#: Raw peaks kept of one gulp; more are a storm, of which the strongest are kept.
MOST_TRIGGERS = 20_000


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
    """

    freqs_mhz: NDArray[np.float64]
    tsamp_s: float
    octaves: tuple[Octave, ...]
    threshold: float
    res: int
    max_width: int

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

    @property
    def max_sweep(self) -> int:
        """Longest sweep in samples."""
        return max(int(o.sweeps[-1]) << o.index for o in self.octaves)

    @property
    def hold(self) -> int:
        """Samples after its mean arrival for which a peak waits for stronger ones.

        A weak peak may be the far wing of a bright burst whose own arrival at the
        bottom of the band is yet to come: at most one sweep later.
        """
        image = self.image_reach(self.max_width)
        return self.max_sweep + max(image, 2 * self.max_width) + (BLOCK << self.octaves[-1].index)

    @property
    def memory(self) -> int:
        """Past samples to keep, so that everything held can still be measured and drawn."""
        halo = max(o.halo << o.index for o in self.octaves)
        return max(halo, self.hold + self.max_sweep + self.image_reach(self.max_width))

    def windows(self, gulp: int) -> list[Int8Array]:
        """Make room for what the screen of a gulp of that many samples needs, per octave."""
        nchans = len(self.freqs_mhz)
        return [empty_rows(nchans, o.halo + (gulp >> o.index)) for o in self.octaves]

    def image_octave(self, width_samples: int) -> int:
        """Octave in which a pulse of that width is two to four pixels wide."""
        return max(int(np.log2(width_samples)) - 1, 0)

    def image_reach(self, width_samples: int) -> int:
        """Give the samples that an image needs on either side of the swept pulse."""
        return self.res << self.image_octave(width_samples)


def search(gulps: Iterable[CleanGulp], plan: SearchPlan, kernel: Kernel) -> Iterator[Searched]:
    """Find pulses in a stream.

    Parameters
    ----------
    gulps
        Clean gulps in time order.
    plan
        What to search.
    kernel
        What does the dedispersion.

    Yields
    ------
    searched
        One per gulp, one for every stretch without data in between, and a last one
        without new samples that holds what was still waiting when the stream ended.
    """
    from ..dedisperse import exact
    from . import scores

    exact.warm_up()
    scores.warm_up()
    history, waiting = History(), np.empty(0, TRIGGER)
    final: list[Candidate] = []
    windows: list[Int8Array] = []
    stop = None
    for gulp in gulps:
        if stop is not None and gulp.start > stop:
            yield Searched(_missing(stop, gulp.start, plan), (), history)
        history = history.extend(gulp, plan.memory)
        # made once: fresh memory costs more than what is written to it
        windows = windows or plan.windows(len(gulp.valid))
        found, storm = screen(history, gulp, plan, kernel, windows)
        waiting = np.concatenate([waiting, found])
        new, waiting = _settle(waiting, gulp.stop - plan.hold, history, plan, final)
        final = [c for c in final if c.sample > gulp.stop - 2 * plan.memory] + new
        yield Searched(_coverage(gulp, plan, len(new), storm), tuple(new), history)
        stop = gulp.last
    if stop is not None:
        new, _ = _settle(waiting, np.inf, history, plan, final)
        yield Searched(_end(stop, len(new)), tuple(new), history)


def screen(
    history: History,
    gulp: CleanGulp,
    plan: SearchPlan,
    kernel: Kernel,
    windows: Sequence[Int8Array],
) -> tuple[Triggers, bool]:
    """Give the raw peaks whose boxcar ends in the newest gulp, and whether they were too many.

    ``windows`` is room for the rows of every octave, made by `SearchPlan.windows`.
    """
    noise = SIGMA * np.sqrt(max(int(np.count_nonzero(gulp.good)), 1))
    threshold = SCREEN_MARGIN * plan.threshold * noise
    found = []
    for octave, rows in zip(plan.octaves, windows, strict=True):
        first = gulp.start >> octave.index
        history.take(first - octave.halo, octave.index, rows)
        peaks = kernel(rows, octave, threshold)
        # the middle of the boxcar, from the middle of the block that it ends in
        bottom = first + BLOCK * (peaks.block + 0.5) - (MARGIN + peaks.width) / 2
        sweep = octave.group_sweeps[peaks.group]
        triggers = np.empty(len(peaks.group), TRIGGER)
        triggers["time"] = (bottom - (1 - plan.mean_shape) * sweep + 0.5) * 2**octave.index - 0.5
        triggers["sweep"] = sweep << octave.index
        triggers["width"] = peaks.width << octave.index
        triggers["snr"] = peaks.score / noise
        triggers["slack"] = BLOCK << octave.index
        triggers["span"] = octave.group_spans[peaks.group] << octave.index
        found.append(triggers)
    triggers = np.concatenate(found)
    storm = len(triggers) > MOST_TRIGGERS
    if storm:
        triggers = triggers[np.argsort(-triggers["snr"], kind="stable")[:MOST_TRIGGERS]]
    return triggers, storm


def _settle(
    waiting: Triggers, until: float, history: History, plan: SearchPlan, final: list[Candidate]
) -> tuple[list[Candidate], Triggers]:
    """Measure the clusters that nothing can join any more; give them and what still waits."""
    measured = []
    for leader, members in leaders(waiting):
        if waiting["time"][leader] <= until:
            waiting["snr"][members] = -np.inf
            measured.append(refine(waiting[leader], history, plan))
    good = [c for c in measured if c is not None and c.snr >= plan.threshold]
    good.sort(key=lambda c: -c.snr)
    peaks, known = as_triggers(good, plan), as_triggers(final, plan)
    new: list[int] = []
    for number, peak in enumerate(peaks):
        if not is_explained(peak, known) and not is_explained(peak, peaks[new]):
            new.append(number)
    found = sorted((good[number] for number in new), key=lambda c: c.sample)
    return found, waiting[np.isfinite(waiting["snr"])]


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
        decided_to=_decided(gulp.stop, plan),
    )


def _missing(start: int, stop: int, plan: SearchPlan) -> Coverage:
    return Coverage(
        start=start,
        stop=stop,
        searched=0,
        masked=0,
        missing=stop - start,
        decided_to=_decided(start, plan),
    )


def _end(stop: int, candidates: int) -> Coverage:
    return Coverage(
        start=stop,
        stop=stop,
        searched=0,
        masked=0,
        missing=0,
        candidates=candidates,
        decided_to=stop,
    )


def _decided(frontier: int, plan: SearchPlan) -> int:
    """Arrivals at the top of the band before this sample are settled, whatever their DM."""
    return max(frontier - plan.hold - plan.max_sweep, 0)
