"""Lists of other searches: every candidate found in the data, measured, merged and judged."""

import hashlib
import heapq
import json
import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__
from .classify import load_model, load_table, model_card
from .classify.card import ONNX
from .config import ListConfig, Plan, SearchSettings
from .data import (
    Budget,
    Candidate,
    Coverage,
    Detection,
    FilterbankHeader,
    Float32Array,
    Listed,
    Report,
)
from .dedisperse import Kernel
from .disk import make_folder, write_whole
from .dispersion import dm_per_sample, sweep_s
from .errors import InputError, MlppaError
from .formats.lists import Flaw, read_list
from .listed import (
    Observation,
    Place,
    is_repeat,
    named_data,
    observations,
    place,
    stretches,
)
from .listed.agreement import Agreement
from .listed.alone import Homeless, header_of, judge_lines
from .metrics import LIST_LINES
from .pipeline import Parts, pipeline
from .publish import publish
from .results import (
    JOURNAL,
    Found,
    code_digest,
    draw_pulses,
    linger,
    open_sinks,
    peak_memory_bytes,
    remove_results,
)
from .sinks import Sink
from .sinks.journal import Journal
from .sources import open_source
from .sources.observation import FileSource
from .sources.transientx import SCHEME, Follower
from .stopwatch import Stopwatch
from .warmup import warm_up
from .wire import DetectionMessage, ListedMessage, Origin, detection_message

log = logging.getLogger(__name__)

AGREEMENT = "agreement"
DISAGREEMENTS = "disagreements.png"
FLAWS = "flaws.txt"

#: A listed DM whose sweep lasts longer is looked up only if --dm-max says so.
LONGEST_SWEEP_S = 60.0

#: Boxcars that lists ask for are as long as this, at most.
WIDEST_MS = 500.0

#: Lines that cannot be read are told one by one up to so many.
MOST_TOLD = 10

#: Images on the sheet of disagreements, of each kind.
MOST_SHOWN = 50

#: Pulses that later lines of lists that grow may be repeats of.
MOST_REMEMBERED = 1000

#: A line, for telling it from others: beam, date, DM, width and S/N.
type Key = tuple[str | None, float, float, float | None, float | None]


@dataclass
class Lines:
    """What became of the lines of lists.

    Parameters
    ----------
    known
        Those that were candidates, so that each is judged once.
    flaws
        What was wrong, by cause; and where first.
    """

    known: set[Key] = field(default_factory=set)
    repeated: int = 0
    unread: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    flaws: list[Flaw] = field(default_factory=list)

    def sort(self, found: Iterable[Listed | Flaw]) -> list[Listed]:
        """Give new candidates; count and tell what is none."""
        fresh = []
        for one in found:
            if isinstance(one, Flaw):
                self._take_flaw(one)
                continue
            key = key_of(one)
            if key in self.known:
                self.repeated += 1
                LIST_LINES.labels(fate="repeated").inc()
                continue
            self.known.add(key)
            LIST_LINES.labels(fate="candidate").inc()
            fresh.append(one)
        return fresh

    def _take_flaw(self, flaw: Flaw) -> None:
        if not flaw.kept:
            self.unread += 1
            LIST_LINES.labels(fate="unread").inc()
        self.causes[flaw.cause] += 1
        if len(self.flaws) < 1000:
            self.flaws.append(flaw)
        if len(self.flaws) <= MOST_TOLD:
            log.warning("%s%s", flaw, "" if flaw.kept else "; the line is left out")
        elif len(self.flaws) == MOST_TOLD + 1:
            log.warning("more lines are not as they should be: see %s", FLAWS)


def key_of(row: Listed | ListedMessage) -> Key:
    """Tell a line by what it says; without a date, by the seconds or samples since sample 0."""
    mjd = row.mjd
    if mjd is None:
        assert isinstance(row, Listed)
        mjd = -1.0 - (row.time_s if row.time_s is not None else float(row.sample or 0))
    width = row.width_ms
    if width is None and isinstance(row, Listed):
        width = row.width_samples
    return row.beam, mjd, round(row.dm, 6), width and round(width, 9), row.snr


class Confirmation:
    """Lists to be judged, set up and ready to run.

    Parameters
    ----------
    config
        Which lists and data, and where the results go.

    Raises
    ------
    MlppaError
        As the parts do, before any sample is read.

    Attributes
    ----------
    summary
        What ``summary.json`` holds; empty until `run` is exhausted.
    agreement
        How the lists fare; likewise.
    detections
        Pulses; likewise.
    """

    def __init__(self, config: ListConfig) -> None:
        self.config = config
        self._follower = _follower(config.lists.files)
        self._lines = Lines()
        self._rows = [] if self._follower else self._lines.sort(_read(config.lists.files))
        chosen = config.classify
        self._classifier = load_model(
            chosen.model, batch=chosen.batch, device=chosen.device, engine=chosen.engine
        )
        card = self._classifier.card
        wanted = chosen.min_probability
        self._min_probability = card.threshold if wanted is None else wanted
        self._table = load_table(config.lists.model)
        self._known = observations(config.input)
        self.searching = config.lists.search and self._follower is None
        self.summary: dict[str, Any] = {}
        self.agreement: Agreement | None = None
        self.detections: list[DetectionMessage] = []
        self.judged = 0
        self._shown: dict[str, list[tuple[float, int, Float32Array]]] = {}
        self._stopwatch = Stopwatch()
        self._stopped = False
        self._out: deque[DetectionMessage] = deque(maxlen=MOST_REMEMBERED)
        self._source: FileSource | None = None
        self._kernel: Kernel
        make_folder(config.output)

    @property
    def is_followed(self) -> bool:
        """Whether lists are followed until somebody stops it."""
        return self._follower is not None

    @property
    def lines(self) -> int:
        """Candidates to be judged, as far as they are known."""
        return len(self._lines.known)

    def close(self) -> None:
        """Let `run` end soon, from any thread or signal handler: what is in flight comes out."""
        self._stopped = True
        if self._follower:
            self._follower.close()
        if self._source:
            self._source.close()

    def run(self) -> Iterator[Report]:
        """Judge; a report comes out when it is journalled, sent, and its pulses are drawn."""
        # numba takes seconds to import, and a refusal should not wait for it
        from .dedisperse.engine import Engine

        config = self.config
        with ExitStack() as stack:
            sinks = open_sinks(config.publish, config.output, stack)
            journal = stack.enter_context(
                closing(Journal(config.output / JOURNAL, config.stream, self._run_key()))
            )
            if self._follower:
                self._lines.known |= {
                    key_of(row) for one in journal.candidates() for row in one.listed
                }
                self._out.extend(journal.detections())
            remove_results(config.output, config.stream)
            self._kernel = stack.enter_context(closing(Engine(config.search.threads)))
            nbits = self._known[0].header.nbits if self._known else 8
            warm_up(self._classifier.card.res, nbits, self._kernel)
            for rows in self._batches():
                yield from self._judge(rows, journal, sinks)
            self._finish(journal)
            linger(config.publish.linger_s, lambda: self._stopped)

    def _batches(self) -> Iterator[list[Listed]]:
        """Give the lines to be judged: once, or whenever there are new ones."""
        if self._follower is None:
            yield self._rows
            return
        for found in self._follower.batches():
            if fresh := self._lines.sort(found):
                yield fresh

    def _judge(
        self, rows: Sequence[Listed], journal: Journal, sinks: list[Sink]
    ) -> Iterator[Report]:
        known = self._data(rows)
        places, homeless = place(rows, known)
        alone = list(homeless)
        for observation, here in zip(known, places, strict=True):
            if self._stopped and self._follower is None:
                return
            if here or self.searching:
                left: list[Listed] = []
                yield from self._look_up(observation, here, left, journal, sinks)
                alone += [(row, observation) for row in left]
        if alone and not (self._stopped and self._follower is None):
            yield from self._judge_alone(alone, journal, sinks)

    def _data(self, rows: Sequence[Listed]) -> list[Observation]:
        """Give the data that are known by now: those named on the way may have grown."""
        uris = list(self.config.input)
        if self._follower:
            self._known = observations(uris)
        found = []
        for name in named_data(rows, uris):
            try:
                observations([name])
            except MlppaError as error:
                log.warning("%s; candidates in it are judged by their lists alone", error)
            else:
                found.append(name)
        return observations([*uris, *found]) if found else self._known

    def _look_up(
        self,
        observation: Observation,
        places: Sequence[Place],
        left: list[Listed],
        journal: Journal,
        sinks: list[Sink],
    ) -> Iterator[Report]:
        """Measure the candidates of an observation, and search it, too, where that is wanted."""
        config, timed = self.config, self._stopwatch.timed
        plan = Plan.make(
            self._settings(observation, places), observation.header, self._classifier.card.res
        )
        within = plan.search.max_sweep
        near = [one for one in places if one.sweep(plan.search) <= within]
        left += [one.listed for one in places if one.sweep(plan.search) > within]
        source = open_source(observation.uris)
        assert isinstance(source, FileSource)
        self._source = source
        if not self.searching:
            source.only(list(stretches(near, plan.search, plan.gulp, observation.nsamples)))
        origin = self._origin(observation.header, config.classify.model)
        with closing(source):
            parts = Parts(
                source=source,
                plan=plan,
                kernel=self._kernel,
                classifier=self._classifier,
                min_probability=self._min_probability,
                mask=config.search.mask,
                pictures=config.publish.images,
                listed=near,
                left=left,
                searching=self.searching,
                stopwatch=self._stopwatch,
            )
            with closing(pipeline(parts)) as found:
                guarded = self._guard(self._once(found, plan, origin), journal)
                reports = publish(guarded, journal, sinks, origin)
                for report in timed("publish", reports):
                    self._take(report)
                    for _ in timed("plot", draw_pulses(report, origin, config.output)):
                        pass
                    yield report

    def _judge_alone(
        self,
        alone: Sequence[tuple[Listed, Observation | None]],
        journal: Journal,
        sinks: list[Sink],
    ) -> Iterator[Report]:
        """Judge by their lists candidates that no data are there for."""
        rows = []
        for row, observation in alone:
            header = header_of(row, observation)
            if header is not None:
                rows.append(Homeless(row, header))
                continue
            cause = "there are no data of it, and the list names no date and band: not judged"
            self._lines.sort([Flaw(row.path, row.line, cause)])
        threshold = model_card(self.config.lists.model).threshold
        for header, detections in judge_lines(rows, self._table, threshold):
            coverage = Coverage(
                start=0, stop=0, searched=0, masked=0, missing=0, candidates=len(detections)
            )
            report = Report(coverage, Budget(dt_s=0.0, budget_s=0.0), detections)
            origin = replace(self._origin(header, self.config.lists.model), images=False)
            for one in publish([report], journal, sinks, origin):
                self._take(one)
                yield one

    def _settings(self, observation: Observation, places: Sequence[Place]) -> SearchSettings:
        """Choose how far to look: as far as the lists do, unless told otherwise."""
        settings, header = self.config.search, observation.header
        given = settings.model_fields_set
        changes: dict[str, float] = {}
        rows = [one.listed for one in places]
        if "dm_max" not in given:
            longest = min(LONGEST_SWEEP_S, observation.stop_s)
            fine = [r.dm for r in rows if sweep_s(r.dm, header.freqs_mhz) <= longest]
            least = settings.dm_max if self.searching else 0.0
            unit_dm = dm_per_sample(header.freqs_mhz, header.tsamp_s)
            changes["dm_max"] = max(least, 1.1 * max(fine, default=0.0) + 64 * unit_dm)
        if "width_max_ms" not in given:
            widest = max((one.width_samples for one in places), default=1)
            least = settings.width_max_ms if self.searching else 16 * header.tsamp_s * 1e3
            most = max(WIDEST_MS, least)
            changes["width_max_ms"] = max(least, min(2e3 * widest * header.tsamp_s, most))
        return settings.model_copy(update=changes)

    def _origin(self, header: FilterbankHeader, model: str) -> Origin:
        card = model_card(model)
        own = model == self.config.classify.model
        sha256 = self._classifier.sha256 if own else card.digest(ONNX)
        return Origin(
            stream=self.config.stream,
            header=header,
            model=card.name,
            model_sha256=sha256,
            images=self.config.publish.images,
        )

    def _once(self, reports: Iterable[Report], plan: Plan, origin: Origin) -> Iterator[Report]:
        """Of lists that grow, reject what is only another line of a pulse that is out already."""
        if self._follower is None:
            yield from reports
            return
        for report in reports:
            fresh = []
            for one in report.detections:
                if one.label == "pulse":
                    known = [_as_candidate(m, plan.header) for m in self._out]
                    same = is_repeat(one.candidate, known, plan.search)
                    again = next((m for m, it in zip(self._out, same, strict=True) if it), None)
                    if again is None:
                        self._out.append(detection_message(one, origin))
                    elif again.id != detection_message(one, origin).id:
                        reason = f"repeat: of {again.id}"
                        one = replace(one, label="rfi", reason=reason, picture=None)
                fresh.append(one)
            yield replace(report, detections=tuple(fresh))

    def _guard(self, reports: Iterable[Report], journal: Journal) -> Iterator[Report]:
        """Before what a stop has cut short is journalled, note that it is not final."""
        for report in reports:
            if self._stopped and self._follower is None:
                journal.begin_anew_next_time()
            yield report

    def _take(self, report: Report) -> None:
        """Count what was judged, and keep the images that tell of a disagreement."""
        for one in report.detections:
            self.judged += len(one.candidate.listed)
            kind = self._disagreement(one)
            if kind is not None and one.image is not None:
                shown = self._shown.setdefault(kind, [])
                heapq.heappush(shown, (one.candidate.snr, len(shown) + self.judged, one.image))
                if len(shown) > MOST_SHOWN:
                    heapq.heappop(shown)

    def _disagreement(self, one: Detection) -> str | None:
        if one.candidate.listed:
            return None if one.label == "pulse" else "not confirmed"
        return "found in addition" if one.label == "pulse" else None

    def _finish(self, journal: Journal) -> None:
        output = self.config.output
        found = Found(journal)
        self.detections = found.detections
        lines = self._lines
        self.agreement = Agreement.of(
            found.candidates,
            repeated=lines.repeated,
            unread=lines.unread,
            searched=self.searching,
        )
        stages = self._stopwatch.seconds.items()
        self.summary = {
            "stream": self.config.stream,
            "lists": list(self.config.lists.files),
            "files": list(self.config.input),
            "stopped": self._stopped,
            "detections": len(found.detections),
            "candidates": len(found.candidates),
            "agreement": self.agreement.as_json(),
            "flaws": dict(lines.causes.most_common(100)),
            "stage_seconds": {k: round(v, 6) for k, v in stages},
            "peak_memory_bytes": peak_memory_bytes(),
            "model": self._classifier.card.name,
            "model_sha256": self._classifier.sha256,
            "list_model": self.config.lists.model,
            "engine": self._classifier.engine,
            "mlppa": __version__,
        }
        text = "\n".join(self.agreement.lines_of_text()) + "\n"
        write_whole(output / f"{AGREEMENT}.txt", text.encode())
        counts = json.dumps(self.agreement.as_json(), indent=1) + "\n"
        write_whole(output / f"{AGREEMENT}.json", counts.encode())
        if lines.flaws:
            write_whole(output / FLAWS, "".join(f"{one}\n" for one in lines.flaws).encode())
        if self.config.publish.images:
            self._draw(found.candidates)
        found.write(output, self.summary)

    def _draw(self, candidates: Sequence[DetectionMessage]) -> None:
        from .plots import plot_agreement, plot_sheet

        plot_agreement(candidates, self.config.output / f"{AGREEMENT}.png")
        rows: dict[str, Any] = {}
        for kind, shown in self._shown.items():
            images = [image for _, _, image in sorted(shown, key=lambda one: -one[0])]
            for first in range(0, len(images), 10):
                name = kind if first == 0 else f"{kind} ({first // 10 + 1})"
                rows[name] = np.array(images[first : first + 10])
        if rows:
            plot_sheet(rows, self.config.output / DISAGREEMENTS)

    def _run_key(self) -> str:
        """Name what would be computed; lists that are followed are one run for ever."""
        config = self.config
        facts: dict[str, Any] = {
            "lists": config.lists.model_dump(),
            "input": config.input,
            "search": config.search.model_dump(exclude={"threads"}),
            "classify": config.classify.model_dump(include={"min_probability"}),
        }
        if self._follower is None:
            files = [Path(uri) for uri in chain(config.input, config.lists.files)]
            facts |= {
                "files": [
                    (str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns)
                    for f in files
                    if f.is_file()
                ],
                "images": config.publish.images,
                "models": [
                    self._classifier.sha256,
                    model_card(config.lists.model).digest(ONNX),
                ],
                "code": code_digest(),
            }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _as_candidate(message: DetectionMessage, header: FilterbankHeader) -> Candidate:
    """Give a pulse that is out already as it stands in data."""
    return Candidate(
        sample=(message.mjd - header.tstart_mjd) * 86400.0 / header.tsamp_s,
        dm=message.dm,
        dm_err=message.dm_err,
        width_samples=max(round(message.width_ms * 1e-3 / header.tsamp_s), 1),
        snr=message.snr,
        snr_zero_dm=0.0,
        octave=message.octave,
    )


def _follower(lists: Sequence[str]) -> Follower | None:
    if not any(name.startswith(SCHEME) for name in lists):
        return None
    if len(lists) > 1:
        remedy = "give one pattern for all, such as transientx:///data/*.cands"
        raise InputError(", ".join(lists), "lists to follow stand alone", remedy)
    return Follower(lists[0])


def _read(lists: Sequence[str]) -> Iterator[Listed | Flaw]:
    for name in lists:
        yield from read_list(Path(name))
