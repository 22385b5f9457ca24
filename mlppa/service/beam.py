"""What is known of one stream, and what it says of itself."""

import logging
import math
import time
from collections.abc import Sequence
from typing import Any, Literal

from ..config import DaemonConfig
from ..data import Budget, Coverage, FilterbankHeader, Report
from ..live import Observation, Told
from ..metrics import (
    BACKLOG_SECONDS,
    BLOCK_LATENCY_SECONDS,
    FATES,
    INJECTED_SNRS,
    INJECTIONS,
    RATIO,
    RECOVERED,
    RUNG,
    SKY_SECONDS,
    STATE,
    STATES,
    STEPS,
    UNWRITTEN,
)
from ..publish import Outlet, Publisher, messages_of
from ..sinks.journal import Journal
from ..watchdog import Limits, Watchdog
from ..wire import HealthMessage, Message, Origin, now, printable
from .resume import Resumed

log = logging.getLogger(__name__)

type State = Literal["waiting", "live", "late", "silent", "insensitive", "stopping"]

#: Synthetic pulses that tell how sensitive a stream is: the latest of this S/N and more.
LATEST = 20
FEWEST = 5
CLEAR_SNR = 10.0

#: They are forgotten when there has been none for so long, or for so many times of their pace.
STALE_S, STALE_TIMES = 60.0, 10

#: Messages that wait for a journal that cannot be written.
PATIENCE = 10_000


class Beam:
    """One stream: its state, its sums, and the way out of its messages.

    Parameters
    ----------
    name
        Of the stream.
    config
        Of the daemon.
    journal
        Of the stream.
    outlets
        Where its messages go.
    resumed
        What was told of data that are read again after a restart; None where none are.
    """

    def __init__(
        self,
        name: str,
        config: DaemonConfig,
        journal: Journal,
        outlets: Sequence[Outlet],
        resumed: Resumed | None = None,
    ) -> None:
        self.name = name
        self.state: State = "waiting"
        self.observation: Observation | None = None
        self.told_s = self._began_s = self._observed_s = time.monotonic()
        self.sums = dict.fromkeys(FATES, 0)
        self.steps = {"down": 0, "up": 0}
        self.latest: tuple[bool, ...] = ()
        self._injected_s = float("-inf")
        self.publisher = Publisher(journal, outlets, PATIENCE)
        self._config = config
        self._outlets = outlets
        self._resumed = resumed
        self._watchdog: Watchdog | None = None
        self._report: Report | None = None
        self._latency_s: float | None = None
        self._stages: dict[str, float] = {}
        self._seconds: dict[str, float] = {}
        self._spent: dict[str, float] = {"publish": 0.0}
        self._keys: dict[str, int] = {}
        self._last_health_s = float("-inf")
        self._stopping = False
        for state in STATES:
            STATE.labels(stream=name, state=state).set(state == self.state)
        for way in self.steps:
            STEPS.labels(stream=name, way=way)
        for fate in FATES:
            SKY_SECONDS.labels(stream=name, fate=fate)
        for metric in (RATIO, RUNG):
            metric.labels(stream=name)
        # until enough pulses were put in it is no number, and no rule compares with it
        RECOVERED.labels(stream=name).set(math.nan)

    def take(self, told: Told) -> list[Message]:
        """Journal and send what a stream tells; give the messages that are new."""
        if told.observation is not self.observation:
            self._begin(told.observation)
        if told.report is None:
            self.look()
            return []
        began_s = time.monotonic()
        report, observation = told.report, told.observation
        arrivals = observation.arrivals
        origin = observation.origins[report.rung]
        if self._resumed is not None:
            report = self._resumed.fresh(report, origin.header)
        else:
            self._join(report, origin)
        fresh = self.publisher.offer(messages_of(report, origin, arrivals.received_at))
        self.told_s = time.monotonic()
        self._spent["publish"] += self.told_s - began_s
        coverage = report.coverage
        for fate in FATES:
            self._add(fate, getattr(coverage, fate), origin.header)
        if coverage.stop > coverage.start:
            self._latency_s = max(self.told_s - arrivals.received_at(coverage.stop - 1), 0.0)
            BLOCK_LATENCY_SECONDS.observe(self._latency_s)
            self._report = report
        self._count_injections(report)
        self._judge(report, observation, told.seconds | self._spent)
        self.look()
        return fresh

    def _join(self, report: Report, origin: Origin) -> None:
        """Tell what was missed while nobody looked; a counter set back is another run."""
        before, self.publisher.before = self.publisher.before, None
        start = report.coverage.start
        if before is None or start == before.stop:
            return
        if start < before.stop:
            key = self.observation.key if self.observation else ""
            self.publisher.begin(key, 2)
            return
        missing = start - before.stop
        gap = Coverage(
            start=before.stop,
            stop=start,
            searched=0,
            masked=0,
            missing=missing,
            decided_to=before.stop,
        )
        unseen = Report(gap, Budget(dt_s=0.0, budget_s=0.0), ())
        self.publisher.offer(messages_of(unseen, origin))
        self._add("missing", missing, origin.header)

    def _add(self, fate: str, samples: int, header: FilterbankHeader) -> None:
        self.sums[fate] += samples
        SKY_SECONDS.labels(stream=self.name, fate=fate).inc(samples * header.tsamp_s)

    def look(self) -> None:
        """See in which state the stream is, and say so when it is another one, or time."""
        state, why = self._state()
        news = ""
        UNWRITTEN.labels(stream=self.name).set(len(self.publisher.pending))
        # what is stuck makes no report: it is told here, too
        BACKLOG_SECONDS.labels(stream=self.name).set(self._backlog_s())
        recovered = self.recovered
        RECOVERED.labels(stream=self.name).set(math.nan if recovered is None else recovered)
        if state != self.state:
            news = why
            told = logging.WARNING if state in ("late", "silent", "insensitive") else logging.INFO
            log.log(told, "%s: %s: %s", self.name, state, why)
            for one in STATES:
                STATE.labels(stream=self.name, state=one).set(one == state)
            self.state = state
        due = time.monotonic() - self._last_health_s >= self._config.life.health_every_s
        if news or due:
            self.tell_health(news)

    def stop(self) -> None:
        """Say that it is about to end."""
        self._stopping = True
        self.look()

    def reload(self, config: DaemonConfig) -> None:
        """Take other settings."""
        self._config = config

    def begin_anew(self, journal: Journal) -> None:
        """Go on with a journal that knows nothing."""
        self.publisher.use(journal)
        if self.observation is not None:
            self.publisher.begin(self.observation.key, 1)

    def tell_health(self, news: str = "") -> None:
        """Journal and send how the stream fares."""
        self._last_health_s = time.monotonic()
        self.publisher.offer([self.health(news)])

    def health(self, news: str = "") -> HealthMessage:
        """Give how the stream fares now."""
        observation, report = self.observation, self._report
        watchdog, ladder = self._watchdog, observation.ladder if observation else None
        header = observation.plan.header if observation else None
        queued = {"journal": len(self.publisher.pending)}
        if observation is not None:
            gulps = self._backlog_s() / (observation.plan.gulp * observation.plan.header.tsamp_s)
            queued["input"] = round(gulps)
        return HealthMessage(
            stream=self.name,
            beam=header.beam if header else 0,
            seq=None,
            state=self.state,
            news=news,
            ratio=round(watchdog.ratio, 4) if watchdog else 0.0,
            dt_s=round(report.budget.dt_s, 6) if report else 0.0,
            budget_s=round(report.budget.budget_s, 6) if report else 0.0,
            latency_s=None if self._latency_s is None else round(self._latency_s, 6),
            stage_seconds={name: round(s, 6) for name, s in self._stages.items()},
            queues=queued,
            rung=ladder.now.number if ladder else 0,
            rungs=len(ladder.rungs) if ladder else 1 + len(self._config.watchdog.ladder),
            rung_name=ladder.now.said if ladder else "all",
            steps_down=self.steps["down"],
            steps_up=self.steps["up"],
            samples=sum(self.sums.values()),
            searched=self.sums["searched"],
            masked=self.sums["masked"],
            missing=self.sums["missing"],
            shed=self.sums["shed"],
            quiet_s=self.quiet_s(),
            recovered=self.recovered,
            failing=[one.name for one in self._outlets if one.fault is not None]
            + (["journal"] if self.publisher.fault is not None else []),
            uptime_s=round(time.monotonic() - self._began_s, 3),
            created=now(),
            backlog_s=round(self._backlog_s(), 3),
            every_s=self._config.life.health_every_s,
        )

    @property
    def recovered(self) -> float | None:
        """Part of the latest clear synthetic pulses that was found.

        None while they are few, and when the latest was long ago: they tell nothing of today.
        """
        stale_s = max(STALE_S, STALE_TIMES * 3600 / max(self._config.inject.per_hour, 1e-3))
        if len(self.latest) < FEWEST or time.monotonic() - self._injected_s > stale_s:
            return None
        return sum(self.latest) / len(self.latest)

    def quiet_s(self) -> float | None:
        """Give the seconds since data came in."""
        newest_s = self.observation.arrivals.newest_s if self.observation else None
        return None if newest_s is None else round(time.monotonic() - newest_s, 3)

    def stuck_s(self) -> float:
        """Give the seconds for which data have waited and nothing was told."""
        stop = self._report.coverage.stop if self._report else None
        if self.observation is None or not self.observation.behind_s(stop):
            return 0.0
        return time.monotonic() - self.told_s

    def _begin(self, observation: Observation) -> None:
        """Take up an observation: the one of before a restart, if it is the same."""
        times = self._keys[observation.key] = self._keys.get(observation.key, 0) + 1
        # the same header once more is another observation; after a restart it is the same
        self.publisher.begin(observation.key, times)
        header = observation.plan.header
        log.info(
            "%s: observation of %s begins: %d channels, %.6g to %.6g MHz, %.6g us, MJD %.6f",
            self.name,
            printable(header.source_name) or "the sky",
            header.nchans,
            header.f_lo_mhz,
            header.f_hi_mhz,
            1e6 * header.tsamp_s,
            header.tstart_mjd,
        )
        wanted = self._config.watchdog
        limits = Limits(wanted.late, wanted.recovered, wanted.smooth_s, wanted.patience_s)
        self._watchdog = Watchdog(limits, observation.ladder)
        self.observation, self._report = observation, None
        self._seconds, self._spent = {}, {"publish": 0.0}
        self.told_s = self._observed_s = time.monotonic()

    def _judge(self, report: Report, observation: Observation, seconds: dict[str, float]) -> None:
        watchdog = self._watchdog
        assert watchdog is not None, "an observation has begun"
        self._stages = {name: s - self._seconds.get(name, 0.0) for name, s in seconds.items()}
        self._seconds = dict(seconds)
        backlog_s = observation.backlog_s(report.coverage.stop)
        full = backlog_s / self._config.watchdog.queue_s
        news = watchdog.judge(report, seconds, observation.pace, full)
        RATIO.labels(stream=self.name).set(watchdog.ratio)
        RUNG.labels(stream=self.name).set(observation.ladder.now.number)
        if news in ("down", "up"):
            self.steps[news] += 1
            STEPS.labels(stream=self.name, way=news).inc()
            said = f"a step {news} the ladder: {observation.ladder.now.said}"
            log.warning("%s: %s (%.0f %% of real time)", self.name, said, 100 * watchdog.ratio)
            self.tell_health(said)

    def _backlog_s(self) -> float:
        if self.observation is None:
            return 0.0
        return self.observation.backlog_s(self._report.coverage.stop if self._report else None)

    def _count_injections(self, report: Report) -> None:
        for one in report.injections:
            fate = "missed"
            if one.reason is None:
                fate = "found"
            elif one.reason == "not searched":
                fate = "lost"
            edge = max(snr for snr in INJECTED_SNRS if snr <= one.snr)
            INJECTIONS.labels(snr=str(edge), fate=fate).inc()
            if one.snr >= CLEAR_SNR and fate != "lost":
                self.latest = (*self.latest, fate == "found")[-LATEST:]
                self._injected_s = time.monotonic()

    def _state(self) -> tuple[State, str]:
        """Tell the state and why, in one line."""
        if self._stopping:
            return "stopping", "what is in flight still comes out"
        if self.observation is None:
            return "waiting", "no observation has begun"
        quiet_s = self.quiet_s()
        if quiet_s is None:
            quiet_s = time.monotonic() - self._observed_s
        if quiet_s > self._config.life.silent_s:
            return "silent", "no data come; is the sender there?"
        if self._watchdog is not None and self._watchdog.late:
            return "late", f"{self._watchdog.ratio:.0%} of real time is needed"
        # of a batch that does not end the watchdog hears nothing
        backlog_s = self._backlog_s()
        if backlog_s > self._config.watchdog.queue_s / 2:
            return "late", f"{backlog_s:.1f} s of sky wait"
        if self.recovered is not None and self.recovered < self._config.inject.alert_below:
            found = f"{self.recovered:.0%} of the latest synthetic pulses"
            return "insensitive", f"only {found} are found"
        return "live", "data come and are searched in time"

    def described(self) -> dict[str, Any]:
        """Describe it for whoever asks for its health."""
        told = ("state", "ratio", "quiet_s", "latency_s", "rung", "failing", "recovered")
        return self.health().model_dump(include=set(told))
