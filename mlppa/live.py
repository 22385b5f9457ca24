"""A stream without an end: from a live input to reports, one observation after the other."""

import logging
import math
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial

from .arrivals import Arrivals
from .classify import Classifier, count_accelerators, load_model
from .config import DaemonConfig, InjectSettings, Plan, RungSettings, naming, zapped
from .data import Candidate, Context, FilterbankHeader, Report
from .dedisperse import Kernel
from .errors import MlppaError
from .inject import Injector, Rate
from .known import KnownSources, Sky, check_galactic, context, galactic_dm
from .metrics import ACCELERATORS, DT_RATIO, DT_SECONDS, MODEL, OBSERVATIONS, REFUSED
from .pipeline import Live, Parts, pipeline
from .results import key_of_run
from .sources import Feed, Source
from .stopwatch import Stopwatch
from .watchdog import Ladder, Rung
from .wire import Origin

log = logging.getLogger(__name__)

#: After an observation that cannot be searched the next one is looked for.
PAUSE_S = 0.5

#: An input that is out of order is tried again after so long.
RETRY_S = 5.0

type Pointing = tuple[float | None, float | None]

#: Gulps that are done at the same time, one in each thread: no backlog.
IN_HAND = 3


@dataclass(frozen=True, slots=True)
class Judge:
    """Who judges on a rung, whatever the observation.

    Parameters
    ----------
    classifier
        The network.
    threshold, min_probability
        From which S/N, and from which probability on.
    said
        What is given up on this rung.
    """

    classifier: Classifier
    threshold: float
    min_probability: float
    said: str = "all"


def read_sky(config: DaemonConfig, before: Sky | None = None) -> Sky:
    """Read what is known of the sky.

    Parameters
    ----------
    before
        What was known: its list stays where the new one cannot be read.

    Raises
    ------
    InputError
        Where the list of known sources cannot be read, and there was none before.
    EnvironmentFault
        Where the model of the Galaxy is not installed.
    """
    wanted = config.known
    galactic = None if wanted.galactic == "none" else wanted.galactic
    if galactic is not None:
        check_galactic()
    sources = None
    if wanted.file is not None:
        known = before.sources if before else None
        sources = KnownSources.read(wanted.file) if known is None else known.reread(wanted.file)
    return Sky(sources=sources, radius_deg=wanted.radius_deg, galactic=galactic)


def load_judges(config: DaemonConfig) -> list[Judge]:
    """Load the networks of all rungs; each takes from the one above what it does not say.

    Raises
    ------
    ModelError, EnvironmentFault
        Where a network or its device is not to be had.
    """
    chosen = config.classify
    batch, model, threshold = chosen.batch, chosen.model, config.search.threshold
    judges: list[Judge] = []
    loaded: dict[tuple[str, int], Classifier] = {}
    for step in [None, *config.watchdog.ladder]:
        if step is not None:
            batch, model = step.batch or batch, step.model or model
            threshold = step.threshold or threshold
        if (model, batch) not in loaded:
            loaded[model, batch] = load_model(
                model, batch=batch, device=chosen.device, engine=chosen.engine
            )
        classifier, wanted = loaded[model, batch], chosen.min_probability
        least = classifier.card.threshold if wanted is None else wanted
        judges.append(Judge(classifier, threshold, least, _said(step)))
    _tell_models(loaded.values(), chosen.device)
    return judges


def _tell_models(loaded: Iterable[Classifier], wanted: str) -> None:
    """Make known what is loaded; those that a reload let go of are known no more."""
    ACCELERATORS.set(count_accelerators())
    MODEL.clear()
    for one in loaded:
        MODEL.labels(one.name, one.sha256, one.engine, one.device, wanted).set(1)
        for metric in (DT_SECONDS, DT_RATIO):
            metric.labels(one.name, str(one.batch))


def _said(settings: RungSettings | None) -> str:
    if settings is None:
        return "all"
    words = {"batch": "batches of {}", "model": "network {}", "threshold": "S/N from {:g}"}
    given = settings.model_dump(exclude_none=True)
    return ", ".join(words[name].format(value) for name, value in given.items()) or "all"


@dataclass(frozen=True, eq=False)
class Observation:
    """What stays the same while an observation lasts.

    Parameters
    ----------
    plan
        What is searched.
    origins
        What its messages have in common, by the rung of the ladder.
    arrivals
        When its samples came in.
    ladder
        How it is judged now.
    stopwatch
        The time of its stages.
    key
        Names it: the same after a restart.
    is_live
        Whether its data do not wait.
    """

    plan: Plan
    origins: list[Origin]
    arrivals: Arrivals
    ladder: Ladder
    stopwatch: Stopwatch
    key: str
    is_live: bool

    def behind_s(self, stop: int | None) -> float:
        """Sky that came in and is not told; ``stop`` is the last that is."""
        newest, first = self.arrivals.newest, self.arrivals.first
        if newest is None or first is None:
            return 0.0
        done = first if stop is None else stop
        return max(newest - done - IN_HAND * self.plan.gulp, 0) * self.plan.header.tsamp_s

    @property
    def pace(self) -> float:
        """Seconds of sky that come in a second; files come as they are read."""
        return self.arrivals.pace if self.is_live else 1.0

    def backlog_s(self, stop: int | None) -> float:
        """Sky that came after sample ``stop``, or at all, but for what is in hand."""
        return self.behind_s(stop) if self.is_live else 0.0


@dataclass(frozen=True, slots=True)
class Told:
    """A report and the observation that it is of; the first of one has no report."""

    observation: Observation
    report: Report | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class Stream:
    """One beam, observed without an end.

    Parameters
    ----------
    name
        Of the stream.
    config
        Of the daemon.
    feed
        Its live input.
    judges
        Who judges, by rung.
    kernel
        What dedisperses.
    """

    def __init__(
        self,
        name: str,
        config: DaemonConfig,
        feed: Feed,
        judges: Sequence[Judge],
        kernel: Kernel,
    ) -> None:
        self.name = name
        self.feed = feed
        self.sky = Sky()
        self._galaxy: dict[Pointing, float | None] = {}
        self._config = config
        self._judges = judges
        self._kernel = kernel
        self._current: Observation | None = None
        self._step = 0
        self._closed = False
        for metric in (OBSERVATIONS, REFUSED):
            metric.labels(stream=name)

    def close(self) -> None:
        """Let `tell` end soon, from any thread or signal handler; what is in flight comes out."""
        self._closed = True
        self.feed.close()

    def tell(self) -> Generator[Told]:
        """Search one observation after the other.

        What cannot be searched is told, counted and passed over.
        """
        while not self._closed:
            try:
                for source in self.feed.observations():
                    with closing(source):
                        yield from self._tell_of(source)
                return
            except MlppaError as error:
                # of the input itself, as of a ring that is none; it may be mended
                log.error("%s: tried again in %g s: %s", self.name, RETRY_S, error)
                REFUSED.labels(stream=self.name).inc()
                _wait(RETRY_S, lambda: self._closed)

    def _tell_of(self, source: Source) -> Generator[Told]:
        """Search a source to its end; what cannot be planned goes by."""
        began = True
        while began and not self._closed:
            began = False
            try:
                with naming(lambda key: f"{self.name}: {key}"):
                    for told in self._observe(source):
                        began = True
                        yield told
                return
            except MlppaError as error:
                log.error("%s: this observation cannot be searched on: %s", self.name, error)
                REFUSED.labels(stream=self.name).inc()
            # what has been searched for a while is taken up again behind what was wrong with it
            began &= source.live
            _wait(PAUSE_S, lambda: self._closed)
        if source.live:
            for _ in source.blocks():
                pass

    def reload(self, config: DaemonConfig, judges: Sequence[Judge], sky: Sky) -> None:
        """Take other thresholds, masks and known sources, at once."""
        self._config, self._judges, self.sky = config, judges, sky
        now = self._current
        if now is not None:
            origins = [self._origin(now.plan.header, judge) for judge in judges]
            # what is in flight may still be of a rung that is gone
            now.origins[:] = origins + now.origins[len(origins) :]
            now.ladder.rungs = self._rungs(now.plan)
            now.plan.zapped[:] = zapped(config.search, now.plan.header)

    def _observe(self, source: Source) -> Generator[Told]:
        """Search one observation."""
        config, header = self._config, source.header
        # in front of everything else: it cannot be planned with every header
        res = max(judge.classifier.res for judge in self._judges)
        plan = Plan.make(config.search, header, res, live=True)
        OBSERVATIONS.labels(stream=self.name).inc()
        ladder = Ladder(self._rungs(plan))
        ladder.step = min(self._step, len(ladder.rungs) - 1)
        observation = Observation(
            plan=plan,
            origins=[self._origin(header, judge) for judge in self._judges],
            arrivals=Arrivals(header.tsamp_s),
            ladder=ladder,
            stopwatch=Stopwatch(),
            key=key_of_run({"stream": self.name, "header": asdict(header)}),
            is_live=source.live,
        )
        self._current = observation
        yield Told(observation)
        queue = max(4, math.ceil(config.watchdog.queue_s / (plan.gulp * header.tsamp_s)))
        live = Live(queue, observation.arrivals, ladder, self._injector(observation), self.name)
        parts = Parts(
            source=source,
            plan=plan,
            kernel=self._kernel,
            classifier=self._judges[0].classifier,
            min_probability=self._judges[0].min_probability,
            mask=config.search.mask,
            pictures=config.publish.images or config.publish.cutouts,
            live=live,
            stopwatch=observation.stopwatch,
        )
        with closing(pipeline(parts)) as reports:
            for report in reports:
                yield Told(observation, report, dict(observation.stopwatch.seconds))
                self._step = ladder.step

    def _rungs(self, plan: Plan) -> tuple[Rung, ...]:
        return tuple(
            Rung(
                plan.search.seen_by(judge.classifier.res, judge.threshold),
                judge.classifier,
                judge.min_probability,
                judge.said,
                number,
            )
            for number, judge in enumerate(self._judges)
        )

    def _origin(self, header: FilterbankHeader, judge: Judge) -> Origin:
        return Origin(
            stream=self.name,
            header=header,
            model=judge.classifier.name,
            model_sha256=judge.classifier.sha256,
            images=self._config.publish.images,
            contexts=partial(self._context, header),
            threshold=judge.threshold,
        )

    def _context(self, header: FilterbankHeader, candidate: Candidate) -> Context:
        galaxy = self._galaxy.get((header.ra_deg, header.dec_deg))
        return context(candidate, header, self.sky, galaxy)

    def ask_galaxy(self, header: FilterbankHeader) -> None:
        """Find out the DM of the Galaxy, which takes seconds: no stream may wait for it.

        Until it is known messages go without.
        """
        model, ra_deg, dec_deg = self.sky.galactic, header.ra_deg, header.dec_deg
        known = (ra_deg, dec_deg) in self._galaxy
        if model is not None and ra_deg is not None and dec_deg is not None and not known:
            self._galaxy[ra_deg, dec_deg] = galactic_dm(ra_deg, dec_deg, model)

    def _injector(self, observation: Observation) -> Injector | None:
        wanted = self._config.inject
        if not wanted.per_hour:
            return None
        # every beam and every observation has pulses of its own
        seed = wanted.seed + zlib.crc32(f"{self.name} {observation.key}".encode())
        return Injector(_rate(wanted), observation.plan.header, seed)


def _wait(seconds: float, given_up: Callable[[], bool]) -> None:
    """Wait, but not when told to end."""
    until_s = time.monotonic() + seconds
    while not given_up() and time.monotonic() < until_s:
        time.sleep(0.05)


def _rate(wanted: InjectSettings) -> Rate:
    return Rate(wanted.per_hour, wanted.snr, wanted.dm, wanted.width_ms)
