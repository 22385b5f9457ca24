"""The wiring: the whole path from a source to reports, in one function."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from .channel import prefetch
from .classify import Network, classify
from .clean import clean
from .config import Plan
from .data import Report
from .decide import decide
from .dedisperse import Kernel
from .gulps import gulps
from .images import cut_images
from .metrics import SAMPLES
from .search import search
from .sources import Source
from .stopwatch import Stopwatch

#: Gulps that wait between the two threads.
DEPTH = 2


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
    stopwatch: Stopwatch = field(default_factory=Stopwatch)


def pipeline(parts: Parts) -> Generator[Report]:
    """Run a stream through every stage.

    Reading and cleaning run in a thread of their own, ahead of the search; it has ended
    when the pipeline has, however that ends.

    Yields
    ------
    report
        What was looked at and what was found, in the order of the stream.
    """
    plan, timed = parts.plan, parts.stopwatch.timed
    blocks = timed("read", parts.source.blocks())
    cleaned = clean(gulps(blocks, plan.gulp), plan.search.noctaves, plan.baseline, mask=parts.mask)
    ahead = prefetch(
        timed("clean", cleaned),
        DEPTH,
        "drop_oldest" if parts.source.live else "wait",
        name="clean",
    )
    searched = timed("search", search(timed("wait", ahead), plan.search, parts.kernel))
    images = timed("images", cut_images(searched, plan.search))
    classified = timed("classify", classify(images, parts.classifier, plan.header.tsamp_s))
    decided = decide(classified, plan.search, parts.min_probability, pictures=parts.pictures)
    with closing(ahead):
        yield from account(timed("decide", decided))


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
