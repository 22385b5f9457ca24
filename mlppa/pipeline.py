"""The wiring: the whole path from a source to reports, in one function."""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from .arrivals import Arrivals
from .channel import OnFull, prefetch
from .classify import Network, classify
from .clean import clean
from .config import CLEAN_AHEAD, SCREENED_AHEAD, Plan
from .data import Block, CleanGulp, Gulp, Listed, Report, Searched
from .decide import decide
from .dedisperse import Kernel
from .gulps import gulps
from .images import cut_images
from .inject import Injector
from .listed import Place, join
from .metrics import FATES, SAMPLES
from .search import Screened, look, measured, screened
from .sources import Source
from .stopwatch import Stopwatch
from .watchdog import Ladder, Rung


@dataclass(frozen=True)
class Live:
    """What a live stream has besides.

    Parameters
    ----------
    queue
        Raw gulps that wait for their turn; when there are more, the older half is shed.
    arrivals
        Notes when samples came in.
    ladder
        How candidates are judged now: asked before each batch.
    injector
        Puts synthetic pulses in; None for none.
    name
        Of the stream.
    """

    queue: int
    arrivals: Arrivals
    ladder: Ladder
    injector: Injector | None = None
    name: str = "live"


@dataclass(frozen=True)
class Parts:
    """What the pipeline is made of.

    Parameters
    ----------
    source
        Where the blocks come from.
    plan
        The configuration as it fits the source's header.
    kernel
        What dedisperses.
    classifier
        What gives images their probabilities.
    min_probability
        From which a candidate is a pulse.
    mask
        Whether outlier channels are masked.
    pictures
        Whether to prepare a picture of every pulse.
    panels
        Whether to cut the panels that other classifiers see.
    listed
        Candidates of lists, on the sample index of the source; None where there are none.
    left
        Takes up those of them that cannot be measured.
    searching
        Whether our own search proposes candidates, too.
    live
        What a live stream has besides; None for a recording.
    stopwatch
        Gathers the time of each stage.
    """

    source: Source
    plan: Plan
    kernel: Kernel
    classifier: Network
    min_probability: float
    mask: bool = True
    pictures: bool = False
    panels: bool = False
    listed: Sequence[Place] | None = None
    left: list[Listed] = field(default_factory=list)
    searching: bool = True
    live: Live | None = None
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def is_recording(self) -> bool:
        """Whether the data wait for the search, and not for the sky."""
        return self.live is None and not self.source.live


def pipeline(parts: Parts) -> Generator[Report]:
    """Run a stream through every stage.

    Where there is more than one processor, some stages run beside others, each up to a gulp
    ahead of the next: reading and cleaning; the screen of a recording; and a live stream is read
    in a thread that waits for nobody. All threads have ended when the pipeline has, however that
    ends.

    Yields
    ------
    report
        What was looked at and what was found, in the order of the stream.
    """
    plan, live, timed = parts.plan, parts.live, parts.stopwatch.timed
    blocks = timed("read", parts.source.blocks())
    raw = gulps(blocks, plan.gulp) if live is None else received(blocks, parts, live)
    room = plan.room if parts.searching else replace(plan.room, halo=0, reach=0)
    cleaned = clean(
        raw, room, plan.baseline, mask=parts.mask, zapped=plan.zapped, ahead=live is None
    )
    with closing(_searched(timed("clean", cleaned), parts)) as searched:
        found: Iterator[Searched] = searched
        if parts.listed is not None:
            found = join(searched, parts.listed, plan.search, parts.left)
        reports = judge(timed("search", found), parts)
        if live is not None and live.injector is not None:
            reports = live.injector.mark(reports, plan.search)
        yield from account(reports)


def received(blocks: Iterable[Block], parts: Parts, live: Live) -> Iterator[Gulp]:
    """Take in a live stream: when it came is noted, and what is too much is shed."""
    if not parts.source.live:
        # more may come yet: a folder waits for its next file
        blocks = (block for block in blocks if len(block.spectra))
    blocks = live.arrivals.note(blocks)
    if live.injector is not None:
        blocks = parts.stopwatch.timed("inject", live.injector.inject(blocks))
    raw = gulps(blocks, parts.plan.gulp)
    on_full: OnFull[Gulp] = Gulp.after if parts.source.live else "wait"
    queued = prefetch(raw, live.queue, on_full, name=f"input {live.name}")
    # not the time of cleaning: it waits for the sky
    return parts.stopwatch.timed("wait", queued)


def judge(searched: Iterable[Searched], parts: Parts) -> Iterator[Report]:
    """Cut images, classify and decide, on the rung that the watchdog has chosen by then."""
    timed, tsamp_s = parts.stopwatch.timed, parts.plan.header.tsamp_s
    every = Rung(parts.plan.search, parts.classifier, parts.min_probability)
    for item in searched:
        rung = parts.live.ladder.now if parts.live else every
        images = timed("images", cut_images([item], rung.plan))
        classified = timed("classify", classify(images, rung.network, tsamp_s))
        decided = decide(
            classified,
            rung.plan,
            rung.min_probability,
            pictures=parts.pictures,
            panels=parts.panels,
        )
        for report in timed("decide", decided):
            yield replace(report, rung=rung.number)


def _searched(cleaned: Iterator[CleanGulp], parts: Parts) -> Generator[Searched]:
    """Search clean gulps, or look at them only; the threads for it end with the reader."""
    plan, live, timed = parts.plan.search, parts.live, parts.stopwatch.timed
    if not parts.searching:
        with closing(_cleaned_ahead(cleaned, parts)) as gulps_ahead:
            yield from look(timed("wait", gulps_ahead), plan)
        return

    def screen() -> Generator[Screened]:
        gate = (lambda: live.ladder.now.plan.threshold) if live else None
        # closed by the thread that iterates
        with closing(_cleaned_ahead(cleaned, parts)) as gulps_ahead:
            waited = timed("wait", gulps_ahead)
            yield from timed("screen", screened(waited, plan, parts.kernel, gate))

    if parts.is_recording and _processors() > 1:
        with closing(prefetch(screen(), SCREENED_AHEAD, name="screened")) as peaks:
            # the time of who waits for the screen is nobody's
            yield from measured(timed(None, peaks), plan)
    else:
        with closing(screen()) as peaks:
            yield from measured(peaks, plan)


def _cleaned_ahead(cleaned: Iterator[CleanGulp], parts: Parts) -> Generator[CleanGulp]:
    """Clean ahead of the screen; on one processor the two would only take turns.

    The screen's threads do it where there are no more processors than those; but not for a live
    stream: who waits for the sky must keep none from the screen.
    """
    processors = _processors()
    if processors == 1:
        yield from cleaned
    elif parts.is_recording and processors <= parts.kernel.threads:
        with closing(parts.kernel.ahead(cleaned)) as ahead:
            yield from ahead
    else:
        with closing(prefetch(cleaned, CLEAN_AHEAD, name="clean")) as ahead:
            yield from ahead


def _processors() -> int:
    """How many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def account(reports: Iterable[Report]) -> Iterator[Report]:
    """Count in the metrics what became of every sample."""
    for report in reports:
        for fate in FATES:
            SAMPLES.labels(fate=fate).inc(getattr(report.coverage, fate))
        yield report
