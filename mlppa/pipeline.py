"""The wiring: the whole path from a source to reports, in one function."""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from .channel import prefetch
from .classify import Network, classify
from .clean import clean
from .config import Plan
from .data import CleanGulp, Listed, Report, Searched
from .decide import decide
from .dedisperse import Kernel
from .gulps import gulps
from .images import cut_images
from .listed import Place, join
from .metrics import SAMPLES
from .search import look, search
from .sources import Source
from .stopwatch import Stopwatch

#: Gulps that wait between the two threads.
DEPTH = 1


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
    stopwatch: Stopwatch = field(default_factory=Stopwatch)


def pipeline(parts: Parts) -> Generator[Report]:
    """Run a stream through every stage.

    Reading and cleaning run in a thread of their own, ahead of the search, where there is
    more than one processor or the stream is live; it has ended when the pipeline has,
    however that ends.

    Yields
    ------
    report
        What was looked at and what was found, in the order of the stream.
    """
    plan, timed = parts.plan, parts.stopwatch.timed
    blocks = timed("read", parts.source.blocks())
    halos = plan.search.halos if parts.searching else [0]
    cleaned = clean(gulps(blocks, plan.gulp), halos, plan.baseline, mask=parts.mask)
    ahead = _ahead(timed("clean", cleaned), parts.source.live)
    waited = timed("wait", ahead)
    searched: Iterator[Searched] = look(waited, plan.search)
    if parts.searching:
        searched = search(waited, plan.search, parts.kernel)
    if parts.listed is not None:
        searched = join(searched, parts.listed, plan.search, parts.left)
    searched = timed("search", searched)
    images = timed("images", cut_images(searched, plan.search))
    classified = timed("classify", classify(images, parts.classifier, plan.header.tsamp_s))
    decided = decide(
        classified,
        plan.search,
        parts.min_probability,
        pictures=parts.pictures,
        panels=parts.panels,
    )
    with closing(ahead):
        yield from account(timed("decide", decided))


def _ahead(cleaned: Iterator[CleanGulp], live: bool) -> Generator[CleanGulp]:
    """Clean ahead of the search; on one processor the two would only take turns."""
    if live:
        cleaned = prefetch(cleaned, DEPTH, "drop_oldest", name="clean")
    elif _processors() > 1:
        cleaned = prefetch(cleaned, DEPTH, "wait", name="clean")
    yield from cleaned


def _processors() -> int:
    """How many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def account(reports: Iterable[Report]) -> Iterator[Report]:
    """Count in the metrics what became of every sample."""
    for report in reports:
        c = report.coverage
        for fate, samples in (
            ("searched", c.searched),
            ("masked", c.masked),
            ("missing", c.missing),
            ("shed", c.shed),
        ):
            SAMPLES.labels(fate=fate).inc(samples)
        yield report
