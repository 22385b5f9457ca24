"""Files as fast as possible: search, classify, journal, publish, and write the results."""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import __version__
from .channel import prefetch
from .classify import load_model, model_card
from .clean.moments import FEWEST_SAMPLES
from .config import Config, Plan
from .data import Report
from .disk import make_folder
from .pipeline import Parts, pipeline
from .publish import publish
from .results import (
    JOURNAL,
    Found,
    Tally,
    code_digest,
    draw_pulses,
    file_facts,
    how_it_ran,
    key_of_run,
    linger,
    open_sinks,
    remove_results,
)
from .sinks import Sink
from .sinks.journal import Journal
from .sources import open_source
from .stopwatch import Stopwatch
from .warmup import warm_up
from .wire import DetectionMessage, Origin

logger = logging.getLogger(__name__)

#: Reports that may wait for their pictures to be drawn: messages do not.
UNDRAWN = 256


class Search:
    """A search of files, set up and ready to run.

    What can be wrong with the input, the settings, the model or the output folder is found
    here, before any sample is read.

    Parameters
    ----------
    config
        What to search, and where the results go.

    Raises
    ------
    MlppaError
        As the parts do.

    Attributes
    ----------
    summary
        What ``summary.json`` holds; empty until `run` is exhausted.
    detections
        The pulses found, in the order of time; likewise.
    left_out
        What of the data was not searched and why, in one line; None where there is
        nothing to say.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.source = open_source(config.input)
        chosen = config.classify
        self._classifier = load_model(
            chosen.model, batch=chosen.batch, device=chosen.device, engine=chosen.engine
        )
        card = self._classifier.card
        wanted = chosen.min_probability
        self._min_probability = card.threshold if wanted is None else wanted
        self.plan = Plan.make(config.search, self.source.header, card.res)
        self.origin = Origin(
            stream=config.stream,
            header=self.source.header,
            model=card.name,
            model_sha256=self._classifier.sha256,
            images=config.publish.images,
            threshold=config.search.threshold,
        )
        self.summary: dict[str, Any] = {}
        self.detections: list[DetectionMessage] = []
        self.left_out: str | None = None
        self._stopwatch = Stopwatch()
        self._stopped = False
        make_folder(config.output)

    def close(self) -> None:
        """Let `run` end soon, from any thread or signal handler: what is in flight comes out."""
        self._stopped = True
        self.source.close()

    def run(self) -> Iterator[Report]:
        """Search; a report comes out when it is journalled, sent, and its pulses are drawn."""
        # numba takes seconds to import, and a refusal should not wait for it
        from .dedisperse.engine import Engine

        config, timed = self.config, self._stopwatch.timed
        with ExitStack() as stack:
            stack.enter_context(closing(self.source))
            # the ports first: a start that fails must not replace an earlier run's journal
            sinks = open_sinks(config.publish, config.output, stack)
            key = run_key(config, self.origin)
            journal = stack.enter_context(
                closing(Journal(config.output / JOURNAL, config.stream, key))
            )
            parts = Parts(
                source=self.source,
                plan=self.plan,
                kernel=stack.enter_context(closing(Engine(config.search.threads, pinned=True))),
                classifier=self._classifier,
                min_probability=self._min_probability,
                mask=config.search.mask,
                pictures=config.publish.images,
                stopwatch=self._stopwatch,
            )
            warm_up(self.plan.search.res, self.plan.header.nbits, parts.kernel)
            remove_results(config.output, config.stream)
            tally = Tally()
            reports = self._published(parts, journal, sinks, tally)
            behind = prefetch(reports, UNDRAWN, name="publish")
            for report in stack.enter_context(closing(behind)):
                for _ in timed("plot", draw_pulses(report, self.origin, config.output)):
                    pass
                yield report
            self._finish(journal, tally)
            linger(config.publish.linger_s, lambda: self._stopped)

    def _published(
        self, parts: Parts, journal: Journal, sinks: list[Sink], tally: Tally
    ) -> Iterator[Report]:
        """Run the pipeline and publish; where that fails, the pipeline ends with it."""
        with closing(pipeline(parts)) as found:
            reports = publish(self._guard(found, journal), journal, sinks, self.origin)
            yield from tally.count(self._stopwatch.timed("publish", reports))

    def _guard(self, reports: Iterable[Report], journal: Journal) -> Iterator[Report]:
        """Before what a stop has cut short is journalled, note that it is not final."""
        for report in reports:
            if self._stopped:
                journal.begin_anew_next_time()
            yield report

    def _finish(self, journal: Journal, tally: Tally) -> None:
        stopped = self._stopped and tally.last != self.source.nsamples
        if stopped:
            logger.warning("stopped after %d samples: the next run begins anew", tally.last)
        else:
            self.left_out = self._describe_left_out(tally)
        found = Found(journal)
        self.detections = found.detections
        self.summary = {
            "stream": self.config.stream,
            "files": list(self.config.input),
            **tally.summary(self.source.header.tsamp_s),
            "stopped": stopped,
            "detections": len(self.detections),
            "candidates": len(found.candidates),
            "plan": self.plan.describe(),
            **how_it_ran(self._classifier, self._stopwatch),
        }
        found.write(self.config.output, self.summary)

    def _describe_left_out(self, tally: Tally) -> str | None:
        name = self.config.input[0] if len(self.config.input) == 1 else self.config.stream
        searched, masked = tally.samples["searched"], tally.samples["masked"]
        total, why = sum(tally.samples.values()), "constant, saturated or not numbers"
        if searched:
            told = (
                f"{name}: {masked} of {total} samples are masked ({why}); the others were searched"
            )
            return told if masked else None
        remedy = "check the recording"
        if total < FEWEST_SAMPLES:
            why = f"fewer than {FEWEST_SAMPLES} do not tell their noise"
            remedy = "give a longer recording"
        elif not masked:
            why = "missing"
        return (
            f"{name}: nothing could be searched: all {total} samples are masked ({why}); {remedy}"
        )


def run_key(config: Config, origin: Origin) -> str:
    """Name what would be computed: the same input, plan and model have the same key."""
    facts = {
        "files": file_facts(config.input),
        "input": config.input,
        "search": config.search.model_dump(exclude={"threads"}),
        "classify": config.classify.model_dump(include={"min_probability"}),
        "images": config.publish.images,
        "header": asdict(origin.header),
        "model": origin.model_sha256,
        "threshold": model_card(config.classify.model).threshold,
        "mlppa": __version__,
        "code": code_digest(),
    }
    return key_of_run(facts)


def stream_name(path: str) -> str:
    """Make a stream's name of a file's."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(path).stem)[:64] or "mlppa"
