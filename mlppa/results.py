"""What every run leaves: messages sent, pictures drawn, files of results."""

import hashlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import __version__
from .classify import Classifier
from .config import PublishSettings
from .data import Report
from .disk import is_file, write_whole
from .errors import SinkError
from .formats.panels import fetch_facts, write_fetch
from .metrics import FATES
from .sinks import Sink, open_sink
from .sinks.journal import Journal
from .stopwatch import Stopwatch
from .wire import DetectionMessage, Origin, detection_message, encode

JOURNAL = "journal.sqlite"
DETECTIONS = "detections.jsonl"
CANDIDATES = "candidates.jsonl"
SUMMARY = "summary.json"


def open_sinks(wanted: PublishSettings, output: Path, stack: ExitStack) -> list[Sink]:
    """Open the ports where messages go out; they are closed with the stack.

    Raises
    ------
    EndpointError
        Where an address cannot be bound.
    """
    from .sinks.zmq import ReplayServer

    sinks: list[Sink] = []
    if wanted.replay is not None:
        stack.enter_context(ReplayServer(output / JOURNAL, wanted.replay))
    if wanted.detections is not None:
        sinks.append(stack.enter_context(closing(open_sink(wanted.detections))))
    return sinks


def draw_pulses(report: Report, origin: Origin, output: Path) -> Iterator[Path]:
    """Draw a picture of every pulse, called as its message says."""
    from .plots import caption, plot_detection, title

    for detection in report.detections:
        if detection.picture is not None:
            message = detection_message(detection, origin)
            path = output / str(message.image)
            text = caption(message, detection.candidate.snr_zero_dm)
            plot_detection(detection.picture, title(message), text, path)
            yield path


def write_cutouts(report: Report, origin: Origin, output: Path) -> None:
    """Write the data around every pulse as HDF5, called as its message is."""
    from .sinks.folder import write_cutout

    for one in report.detections:
        if one.picture is not None:
            message = detection_message(one, origin)
            write_cutout(output / f"{message.id}.h5", one, message, origin.header)


def write_panels(report: Report, origin: Origin, output: Path) -> None:
    """Write what FETCH looks at, called as the messages of the candidates are."""
    for one in report.detections:
        if one.panels is not None:
            name = f"{detection_message(one, origin).id}.h5"
            write_fetch(output / name, one.panels, fetch_facts(one.candidate, origin.header))


def linger(seconds: float, stopped: Callable[[], bool]) -> None:
    """Stay reachable for a while, but not when told to stop."""
    until = time.monotonic() + seconds
    while not stopped() and time.monotonic() < until:
        time.sleep(min(0.1, max(until - time.monotonic(), 0)))


class Found:
    """All that a journal holds of the latest run, by arrival."""

    def __init__(self, journal: Journal) -> None:
        self.detections: list[DetectionMessage] = list(journal.detections())
        self.candidates: list[DetectionMessage] = list(journal.candidates())

    def write(self, output: Path, summary: dict[str, Any]) -> None:
        """Write detections, candidates and the summary; that comes last."""
        for name, messages in ((DETECTIONS, self.detections), (CANDIDATES, self.candidates)):
            write_whole(output / name, b"".join(encode(m) + b"\n" for m in messages))
        write_whole(output / SUMMARY, json.dumps(summary, indent=1).encode() + b"\n")


class Tally:
    """Adds up the coverage, and takes the time until the last report."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.wall_s = 0.0
        self.first: int | None = None
        self.last = 0
        self.samples = dict.fromkeys(FATES, 0)
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


def how_it_ran(classifier: Classifier, stopwatch: Stopwatch) -> dict[str, Any]:
    """Give what every summary tells of the program itself."""
    return {
        "stage_seconds": {name: round(spent, 6) for name, spent in stopwatch.seconds.items()},
        "peak_memory_bytes": peak_memory_bytes(),
        "model": classifier.name,
        "model_sha256": classifier.sha256,
        "engine": classifier.engine,
        "mlppa": __version__,
    }


def file_facts(paths: Iterable[str | Path]) -> list[tuple[str, int, int]]:
    """Give what tells files from others of the same name: those that are there."""
    known = (Path(path).resolve() for path in paths if is_file(Path(path)))
    return [(str(path), (facts := path.stat()).st_size, facts.st_mtime_ns) for path in known]


def key_of_run(facts: Mapping[str, Any]) -> str:
    """Name what would be computed by all that it depends on."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def code_digest() -> str:
    """Name the code that computes: a changed program does not continue an older one's run."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def peak_memory_bytes() -> int:
    """Most memory this process ever had resident."""
    if sys.platform == "linux":
        # getrusage would count what the parent had when it made this process
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def remove_results(folder: Path, stream: str) -> None:
    """Take away what an earlier run wrote: results that are there are those of this run."""
    pictures = folder.glob(f"{stream}-b*-dm*.png")
    for path in (*(folder / name for name in (DETECTIONS, CANDIDATES, SUMMARY)), *pictures):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            remedy = "choose another output folder"
            raise SinkError(path, str(error.strerror), remedy) from error
