"""Files as fast as possible: search, classify, journal, publish, and write the results."""

import hashlib
import json
import logging
import re
import resource
import sys
import time
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
from .disk import make_folder, write_whole
from .errors import SinkError
from .pipeline import Parts, pipeline
from .publish import publish
from .sinks import Sink, open_sink
from .sinks.journal import Journal
from .sources import open_source
from .stopwatch import Stopwatch
from .warmup import warm_up
from .wire import DetectionMessage, Origin, detection_message, encode

logger = logging.getLogger(__name__)

JOURNAL = "journal.sqlite"
DETECTIONS = "detections.jsonl"
CANDIDATES = "candidates.jsonl"
SUMMARY = "summary.json"

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
            sinks = self._open_sinks(stack)
            key = run_key(config, self.origin)
            journal = stack.enter_context(
                closing(Journal(config.output / JOURNAL, config.stream, key))
            )
            parts = Parts(
                source=self.source,
                plan=self.plan,
                kernel=stack.enter_context(closing(Engine(config.search.threads))),
                classifier=self._classifier,
                min_probability=self._min_probability,
                mask=config.search.mask,
                pictures=config.publish.images,
                stopwatch=self._stopwatch,
            )
            warm_up(parts.plan, parts.kernel)
            _remove_results(config.output, config.stream)
            tally = _Tally()
            reports = self._published(parts, journal, sinks, tally)
            behind = prefetch(reports, UNDRAWN, name="publish")
            for report in stack.enter_context(closing(behind)):
                for _ in timed("plot", self._draw(report)):
                    pass
                yield report
            self._finish(journal, tally)
            self._linger()

    def _published(
        self, parts: Parts, journal: Journal, sinks: list[Sink], tally: "_Tally"
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

    def _linger(self) -> None:
        """Stay reachable for a while, but not when told to stop."""
        until = time.monotonic() + self.config.publish.linger_s
        while not self._stopped and time.monotonic() < until:
            time.sleep(min(0.1, max(until - time.monotonic(), 0)))

    def _open_sinks(self, stack: ExitStack) -> list[Sink]:
        from .sinks.zmq import ReplayServer

        wanted = self.config.publish
        sinks: list[Sink] = []
        if wanted.replay is not None:
            stack.enter_context(ReplayServer(self.config.output / JOURNAL, wanted.replay))
        if wanted.detections is not None:
            sinks.append(stack.enter_context(closing(open_sink(wanted.detections))))
        return sinks

    def _draw(self, report: Report) -> Iterator[Path]:
        """Draw a picture of every pulse, called as its message says."""
        from .plots import caption, plot_detection, title

        for detection in report.detections:
            if detection.picture is not None:
                message = detection_message(detection, self.origin)
                path = self.config.output / str(message.image)
                text = caption(message, detection.candidate.snr_zero_dm)
                plot_detection(detection.picture, title(message), text, path)
                yield path

    def _finish(self, journal: Journal, tally: "_Tally") -> None:
        output = self.config.output
        stopped = self._stopped and tally.last != self.source.nsamples
        if stopped:
            logger.warning("stopped after %d samples: the next run begins anew", tally.last)
        else:
            self.left_out = self._describe_left_out(tally)
        self.detections = list(journal.detections())
        candidates = list(journal.candidates())
        self.summary = {
            "stream": self.config.stream,
            "files": list(self.config.input),
            **tally.summary(self.source.header.tsamp_s),
            "stopped": stopped,
            "detections": len(self.detections),
            "candidates": len(candidates),
            "stage_seconds": {k: round(v, 6) for k, v in self._stopwatch.seconds.items()},
            "peak_memory_bytes": peak_memory_bytes(),
            "plan": self.plan.describe(),
            "model": self.origin.model,
            "model_sha256": self.origin.model_sha256,
            "engine": self._classifier.engine,
            "mlppa": __version__,
        }
        write_whole(output / DETECTIONS, b"".join(encode(m) + b"\n" for m in self.detections))
        write_whole(output / CANDIDATES, b"".join(encode(m) + b"\n" for m in candidates))
        write_whole(output / SUMMARY, json.dumps(self.summary, indent=1).encode() + b"\n")

    def _describe_left_out(self, tally: "_Tally") -> str | None:
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


class _Tally:
    """Adds up the coverage, and takes the time until the last report."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.wall_s = 0.0
        self.first: int | None = None
        self.last = 0
        self.samples = dict.fromkeys(("searched", "masked", "missing", "shed"), 0)
        self.storms = 0

    def count(self, reports: Iterable[Report]) -> Iterator[Report]:
        """Count reports while they pass."""
        for report in reports:
            self._add(report)
            yield report

    def _add(self, report: Report) -> None:
        self.wall_s = time.monotonic() - self._began
        coverage = asdict(report.coverage)
        self.first = report.coverage.start if self.first is None else self.first
        self.last = report.coverage.stop
        self.storms += report.coverage.storm
        for fate in self.samples:
            self.samples[fate] += coverage[fate]

    def summary(self, tsamp_s: float) -> dict[str, Any]:
        """Sum up."""
        data_s = (self.last - (self.first or 0)) * tsamp_s
        wall_s = self.wall_s
        return {
            "data_seconds": data_s,
            "wall_seconds": wall_s,
            "real_time_factor": data_s / wall_s if wall_s else 0.0,
            "samples": self.last - (self.first or 0),
            **{f"samples_{fate}": count for fate, count in self.samples.items()},
            "storms": self.storms,
        }


def run_key(config: Config, origin: Origin) -> str:
    """Name what would be computed: the same input, plan and model have the same key."""
    files = [Path(uri) for uri in config.input]
    facts = {
        "files": [
            (str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()
        ],
        "input": config.input,
        "search": config.search.model_dump(exclude={"threads"}),
        "classify": config.classify.model_dump(include={"min_probability"}),
        "images": config.publish.images,
        "header": asdict(origin.header),
        "model": origin.model_sha256,
        "threshold": model_card(config.classify.model).threshold,
        "mlppa": __version__,
        "code": _code(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _code() -> str:
    """Name the code that computes: a changed program does not continue an older one's run."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def stream_name(path: str) -> str:
    """Make a stream's name of a file's."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(path).stem)[:64] or "mlppa"


def peak_memory_bytes() -> int:
    """Most memory this process ever had resident."""
    if sys.platform == "linux":
        # getrusage would count what the parent had when it made this process
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _remove_results(folder: Path, stream: str) -> None:
    """Take away what an earlier run wrote: results that are there are those of this run."""
    pictures = folder.glob(f"{stream}-b*-dm*.png")
    for path in (*(folder / name for name in (DETECTIONS, CANDIDATES, SUMMARY)), *pictures):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            remedy = "choose another output folder"
            raise SinkError(path, str(error.strerror), remedy) from error
