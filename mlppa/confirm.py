"""Lists of other searches: every candidate found in the data, measured, merged and judged."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from .classify import load_model, load_table, model_card
from .classify.card import ONNX
from .config import ListConfig, Plan, SearchSettings
from .data import Budget, Coverage, Detection, FilterbankHeader, Listed, Report
from .dedisperse import Kernel
from .disk import make_folder
from .dispersion import dm_per_sample, sweep_s
from .errors import FormatError, MlppaError
from .formats.lists import Flaw, read_list
from .listed import Observation, Place, named_data, place, stretches
from .listed.agreement import Agreement, Disagreements, remove_pages
from .listed.alone import Homeless, header_of, judge_lines
from .listed.known import LONGEST_SWEEP_S, Known, Waiting
from .listed.lines import Lines, key_of
from .listed.once import Once
from .listed.pictures import FETCH_FILES, Pictures
from .pipeline import Parts, pipeline
from .publish import publish
from .results import (
    JOURNAL,
    Found,
    code_digest,
    draw_pulses,
    file_facts,
    how_it_ran,
    key_of_run,
    linger,
    open_sinks,
    remove_results,
    write_panels,
)
from .sinks import Sink
from .sinks.journal import Journal
from .sources import open_source, telling_once
from .sources.observation import FileSource
from .sources.transientx import open_follower
from .stopwatch import Stopwatch
from .warmup import warm_up
from .wire import DetectionMessage, Origin

log = logging.getLogger(__name__)

#: Boxcars that lists ask for are as long as this, at most.
WIDEST_MS = 500.0

#: Lines of a list that grows are judged so many at a time: a stop waits for no more.
MOST_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Run:
    """What is open while a run goes on."""

    kernel: Kernel
    journal: Journal
    sinks: Sequence[Sink]
    once: Once


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
    judged
        Lines that were judged so far.
    """

    def __init__(self, config: ListConfig) -> None:
        self.config = config
        self._follower = open_follower(config.lists.files)
        self._lines = Lines()
        self._pictures = Pictures(beside=config.lists.images == "px")
        self._rows = [] if self._follower else self._lines.fresh(self._read())
        chosen = config.classify
        self._classifier = load_model(
            chosen.model, batch=chosen.batch, device=chosen.device, engine=chosen.engine
        )
        wanted = chosen.min_probability
        self._min_probability = self._classifier.card.threshold if wanted is None else wanted
        self._table = load_table(config.lists.model)
        self._odd: set[tuple[str, str]] = set()
        with telling_once(self._odd):
            self._known = Known(config.input, growing=self.is_followed)
        self.summary: dict[str, Any] = {}
        self.agreement: Agreement | None = None
        self.detections: list[DetectionMessage] = []
        self.judged = 0
        self._disagreements = Disagreements()
        self._stopwatch = Stopwatch()
        self._stopped = False
        self._has_searched = False
        self._source: FileSource | None = None
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
        elif self._source:
            self._source.close()

    def run(self) -> Iterator[Report]:
        """Judge; a report comes out when it is journalled, sent, and its pulses are drawn."""
        # numba takes seconds to import, and a refusal should not wait for it
        from .dedisperse.engine import Engine

        config = self.config
        with ExitStack() as stack:
            stack.enter_context(telling_once(self._odd))
            sinks = open_sinks(config.publish, config.output, stack)
            journal = stack.enter_context(
                closing(Journal(config.output / JOURNAL, config.stream, self._run_key()))
            )
            if self._follower is None:
                # of lists that are followed it is the same run as before
                remove_results(config.output, config.stream)
            remove_pages(config.output)
            kernel = stack.enter_context(closing(Engine(config.search.threads, pinned=True)))
            nbits = self._known.found[0].header.nbits if self._known.found else 8
            warm_up(self._classifier.res, nbits, kernel)
            run = _Run(kernel, journal, sinks, self._remembered(journal))
            for rows in self._batches():
                for report in self._judge(rows, run):
                    self.judged += sum(len(one.candidate.listed) for one in report.detections)
                    self._disagreements.take(report.detections)
                    yield report
            self._finish(journal)
            linger(config.publish.linger_s, lambda: self._stopped)

    def _read(self) -> Iterator[Listed | Flaw]:
        """Read lists, and candidates of FETCH, which are lists of one."""
        seen: list[Listed | Flaw] = []
        for path in map(Path, self.config.lists.files):
            if path.suffix in FETCH_FILES:
                seen.append(self._pictures.read(path))
            else:
                yield from read_list(path)
        first = next(iter(seen), None)
        if isinstance(first, Flaw) and all(isinstance(one, Flaw) for one in seen):
            raise FormatError(first.path, first.cause, "give candidates of FETCH or your")
        yield from seen

    def _remembered(self, journal: Journal) -> Once:
        """Know what was told, and of lists that are followed what was judged, before."""
        if self._follower is None:
            return Once()
        every = list(journal.candidates())
        for row in chain.from_iterable(one.listed for one in every):
            self._lines.remember(key_of(row))
        return Once(every, growing=True)

    def _batches(self) -> Iterator[list[Listed]]:
        """Give the lines to be judged: once, or whenever there are new ones."""
        if self._follower is None:
            yield self._rows
            return
        waiting = Waiting(self._known)
        for found in self._follower.batches():
            ready = waiting.ready(self._lines.fresh(found))
            for first in range(0, len(ready), MOST_AT_ONCE):
                if not self._stopped:  # whoever comes again takes up the rest
                    yield ready[first : first + MOST_AT_ONCE]

    def _judge(self, rows: Sequence[Listed], run: _Run) -> Iterator[Report]:
        """Judge lines by their pictures, by the data, or by themselves."""
        seen, unseen = self._pictures.split(rows)
        known = self._known.about(unseen)
        yield from self._judge_seen(seen, run)
        places, homeless = place(unseen, known)
        for observation, here in zip(known, places, strict=True):
            near, far = here, []
            if self._searches:
                # what our search does not reach is looked up by itself: it stays as fast as it is
                most = self.config.search.dm_max
                near = [one for one in here if one.listed.dm <= most]
                far = [one for one in here if one.listed.dm > most]
                self._has_searched = True
            left: list[Listed] = []
            if near or self._searches:
                yield from self._look_up(observation, near, left, run, searching=self._searches)
            if far and not self._given_up:
                yield from self._look_up(observation, far, left, run, searching=False)
            homeless += [(row, observation) for row in left]
        if not self._given_up:
            model = self.config.lists.model
            judged = judge_lines(
                self._with_headers(homeless),
                lambda _, columns: self._table(columns),
                model_card(model).threshold,
            )
            yield from self._publish(judged, model, run)

    @property
    def _searches(self) -> bool:
        """Whether our own search is asked, too."""
        return self.config.lists.search and not self.is_followed and not self._given_up

    @property
    def _given_up(self) -> bool:
        """Whether lines are left alone that nobody has looked at: whoever stops comes again."""
        return self._stopped and not self.is_followed

    def _look_up(
        self,
        observation: Observation,
        places: Sequence[Place],
        left: list[Listed],
        run: _Run,
        *,
        searching: bool,
    ) -> Iterator[Report]:
        """Measure the candidates of an observation, and search it, too, where that is wanted."""
        config, timed = self.config, self._stopwatch.timed
        settings = config.search if searching else _as_far_as(config.search, observation, places)
        plan = Plan.make(settings, observation.header, self._classifier.res)
        within = plan.search.max_sweep
        near = [one for one in places if one.sweep(plan.search) <= within]
        left += [one.listed for one in places if one.sweep(plan.search) > within]
        try:
            source = open_source(observation.uris)
        except MlppaError as error:
            if self._follower is None:
                raise
            log.warning("%s; candidates in it are judged by their lists alone", error)
            left += [one.listed for one in near]
            return
        assert isinstance(source, FileSource)
        self._source = source
        if not searching:
            source.only(list(stretches(near, plan.search, plan.gulp, observation.nsamples)))
        origin = self._origin(observation.header, config.classify.model)
        parts = Parts(
            source=source,
            plan=plan,
            kernel=run.kernel,
            classifier=self._classifier,
            min_probability=self._min_probability,
            mask=config.search.mask,
            pictures=config.publish.images,
            panels=config.lists.write_h5,
            listed=near,
            left=left,
            searching=searching,
            stopwatch=self._stopwatch,
        )
        with closing(source), closing(pipeline(parts)) as found:
            fresh = self._guard(run.once.only(found, origin), run.journal)
            reports = publish(fresh, run.journal, run.sinks, origin)
            for report in timed("publish", reports):
                write_panels(report, origin, config.output)
                for _ in timed("plot", draw_pulses(report, origin, config.output)):
                    pass
                yield report

    def _judge_seen(self, rows: Sequence[Listed], run: _Run) -> Iterator[Report]:
        """Judge lines by the pictures that came with them."""
        known = self._known.found
        places, homeless = place(rows, known)
        homes = [
            (one.listed, observation)
            for observation, some in zip(known, places, strict=True)
            for one in some
        ]
        judged = judge_lines(
            self._with_headers([*homes, *homeless]),
            partial(self._pictures.judged, self._classifier),
            self._min_probability,
            "image",
        )
        yield from self._publish(judged, self.config.classify.model, run)

    def _with_headers(self, rows: Iterable[tuple[Listed, Observation | None]]) -> list[Homeless]:
        """Give lines with the header of their data, or one made of what they say."""
        found = []
        for row, observation in rows:
            header = self._pictures.headers.get(row.path) or header_of(row, observation)
            if header is not None:
                found.append(Homeless(row, header))
                continue
            cause = "there are no data of it, and the list names no date and band: not judged"
            self._lines.take_flaw(Flaw(row.path, row.line, cause))
        return found

    def _publish(
        self,
        judged: Iterable[tuple[FilterbankHeader, tuple[Detection, ...]]],
        model: str,
        run: _Run,
    ) -> Iterator[Report]:
        """Publish what was judged without data."""
        for header, detections in judged:
            coverage = Coverage(
                start=0, stop=0, searched=0, masked=0, missing=0, candidates=len(detections)
            )
            report = Report(coverage, Budget(dt_s=0.0, budget_s=0.0), detections)
            origin = replace(self._origin(header, model), images=False)
            fresh = run.once.only([report], origin)
            yield from publish(fresh, run.journal, run.sinks, origin)

    def _origin(self, header: FilterbankHeader, model: str) -> Origin:
        card = model_card(model)
        own = model == self.config.classify.model
        return Origin(
            stream=self.config.stream,
            header=header,
            model=card.name,
            model_sha256=self._classifier.sha256 if own else card.digest(ONNX),
            images=self.config.publish.images,
        )

    def _guard(self, reports: Iterable[Report], journal: Journal) -> Iterator[Report]:
        """Before what a stop has cut short is journalled, note that it is not final."""
        for report in reports:
            if self._given_up:
                journal.begin_anew_next_time()
            yield report

    def _finish(self, journal: Journal) -> None:
        output, lines = self.config.output, self._lines
        found = Found(journal)
        self.detections = found.detections
        self.agreement = Agreement.of(
            found.candidates,
            repeated=lines.repeated,
            unread=lines.unread,
            searched=self._has_searched,
        )
        self.agreement.write(output)
        lines.write(output)
        if self.config.publish.images:
            self._disagreements.draw(found.candidates, output)
        self.summary = {
            "stream": self.config.stream,
            "lists": list(self.config.lists.files),
            "files": list(self.config.input),
            "stopped": self._stopped,
            "detections": len(found.detections),
            "candidates": len(found.candidates),
            "agreement": self.agreement.as_json(),
            "flaws": dict(lines.causes.most_common(100)),
            "list_model": self.config.lists.model,
            **how_it_ran(self._classifier, self._stopwatch),
        }
        found.write(output, self.summary)

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
            pictures = {path for row in self._rows for path in self._pictures.beside(row)}
            data = named_data(self._rows, config.input)
            files: list[str | Path] = [*config.input, *config.lists.files, *data]
            files += sorted(pictures)
            facts |= {
                "files": file_facts(files),
                "images": config.publish.images,
                "models": [self._classifier.sha256, model_card(config.lists.model).digest(ONNX)],
                "code": code_digest(),
            }
        return key_of_run(facts)


def _as_far_as(
    settings: SearchSettings,
    observation: Observation,
    places: Sequence[Place],
) -> SearchSettings:
    """Choose how far to look up candidates: as far as they are, unless told otherwise."""
    header, given = observation.header, settings.model_fields_set
    changes: dict[str, float] = {}
    if "dm_max" not in given:
        longest = min(LONGEST_SWEEP_S, observation.stop_s)
        dms = [one.listed.dm for one in places]
        fine = [dm for dm in dms if sweep_s(dm, header.freqs_mhz) <= longest]
        unit_dm = dm_per_sample(header.freqs_mhz, header.tsamp_s)
        changes["dm_max"] = 1.1 * max(fine, default=0.0) + 64 * unit_dm
    if "width_max_ms" not in given:
        tsamp_ms = 1e3 * header.tsamp_s
        widest = 2 * max((one.width_samples for one in places), default=1) * tsamp_ms
        changes["width_max_ms"] = max(16 * tsamp_ms, min(widest, WIDEST_MS))
    return settings.model_copy(update=changes)
