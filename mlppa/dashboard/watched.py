"""What is known of one stream from its messages alone."""

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..metrics import FATES, INJECTED_SNRS
from ..watchdog import THREADS
from ..wire import CoverageMessage, DetectionMessage, HealthMessage, InjectionMessage, Message

#: What is drawn of the past, and what is counted of it, in seconds: by the clock of live
#: streams. Of a search of files all counts.
PAST_S, COUNTED_S = 600, 3600

#: Batches whose dT is drawn, and detections that are remembered.
BATCHES, PULSES = 1500, 60

#: Where nothing is heard for so long, or for some times as long as health is told apart, there
#: is no contact. Who has ended is forgotten after a while.
CONTACT_S, CONTACT_TIMES, FORGET_S = 30.0, 2.5, 3600.0

#: Of the latest sky so much must be of use, in seconds and as a part, or there is none.
SKY_S, USED = 60, 0.5

#: Stages that must keep pace, those of a thread side by side; others wait for the sky.
WORK = tuple(stage for stages in THREADS.values() for stage in stages)

#: Bins of dT over the budget: so many to a decade, from 10^LOWEST to 10^HIGHEST.
BINS_A_DECADE, LOWEST, HIGHEST = 5, -6, 1
BINS = (HIGHEST - LOWEST) * BINS_A_DECADE

#: Where they stand in `FATES`.
SEARCHED_MASKED = FATES.index("searched"), FATES.index("masked")

#: What is counted: its kind, and what tells it apart.
type Key = tuple[str | int | bool, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of images: when it was done, dT over its budget, and the network."""

    at_s: float
    ratio: float
    model: str


@dataclass(slots=True)
class Watched:
    """One stream as whoever listens knows it.

    A live stream says how it fares, and stands on the clock of the wall. What a search of
    files left has no such clock: its sky lies one second beside the other.

    Parameters
    ----------
    name
        Of the stream.
    source
        Number of the source that it comes from.
    heard_s
        When it was heard of, or waited for first.
    expected
        True for a source of which no stream is known yet.
    wired
        True where it is heard over the wire: then it is live before it says how it fares.
    """

    name: str
    source: int
    heard_s: float = 0.0
    expected: bool = False
    wired: bool = False
    health: HealthMessage | None = None
    #: Where the sky ends that was looked at.
    end_s: float | None = None
    sky_s: dict[int, list[float]] = field(default_factory=dict)
    #: By the minute; the sky in microseconds.
    counted: dict[int, Counter[Key]] = field(default_factory=dict)
    batches: deque[Batch] = field(default_factory=lambda: deque(maxlen=BATCHES))
    pulses: deque[DetectionMessage] = field(default_factory=lambda: deque(maxlen=PULSES))
    #: Those that were put in: they must not push the others out.
    put_in: deque[DetectionMessage] = field(default_factory=lambda: deque(maxlen=PULSES))
    latest: CoverageMessage | None = None

    def take(self, message: Message, heard_s: float) -> None:
        """Learn from a message; ``heard_s`` is the time by the clock of this machine."""
        self.heard_s = max(self.heard_s, heard_s)
        match message:
            case HealthMessage():
                self.health = message
            case CoverageMessage():
                self._look(message)
            case DetectionMessage(label="pulse"):
                self.remember([message])
            case InjectionMessage() if message.found or message.reason != "not searched":
                edge = max(snr for snr in INJECTED_SNRS if snr <= message.snr)
                self._count(epoch_s(message.created), ("injected", edge, message.found))
            case _:
                pass

    def remember(self, pulses: Iterable[DetectionMessage]) -> None:
        """Take up pulses, by their time; each comes once."""
        for pulse in pulses:
            (self.put_in if pulse.injected else self.pulses).append(pulse)
            if not pulse.injected:
                self._count(epoch_s(pulse.created), ("found",))

    def _look(self, message: CoverageMessage) -> None:
        seconds = (message.stop - message.start) * message.tsamp_s
        self.latest = message
        if self.is_live or self.end_s is None:
            self.end_s = epoch_s(message.created)
        else:
            self.end_s += seconds
        shares = [getattr(message, fate) * message.tsamp_s for fate in FATES]
        at_s = epoch_s(message.created)
        for fate, share in zip(FATES, shares, strict=True):
            self._count(at_s, ("sky", fate), round(1e6 * share))
        self._count(at_s, ("candidates",), message.candidates)
        if seconds > 0:
            self._spread(self.end_s - seconds, self.end_s, shares)
        if message.candidates and message.dt_s > 0 and message.budget_s > 0:
            self._time(at_s, message.dt_s / message.budget_s, message.model or "unknown")

    def _count(self, at_s: float, key: Key, amount: int = 1) -> None:
        minute = math.floor(at_s / 60)
        self.counted.setdefault(minute, Counter())
        # those that were begun first go first: a clock may be set back
        while self.is_live and len(self.counted) > COUNTED_S / 60 + 2:
            del self.counted[next(iter(self.counted))]
        self.counted[minute][key] += amount

    def total(self, kind: str, now_s: float) -> Counter[Key]:
        """Add up what was counted of a kind: of live streams in the last hour."""
        since = (now_s - COUNTED_S) / 60 if self.is_live else -math.inf
        total: Counter[Key] = Counter()
        for minute, counts in self.counted.items():
            if minute >= since:
                total.update({key: n for key, n in counts.items() if key[0] == kind})
        return total

    def _spread(self, start_s: float, stop_s: float, shares: list[float]) -> None:
        """Lay sky into bins of a second, and let go of what is long past."""
        for second in range(math.floor(max(start_s, stop_s - PAST_S)), math.ceil(stop_s)):
            part = min(stop_s, second + 1) - max(start_s, second)
            bins = self.sky_s.setdefault(second, [0.0] * len(FATES))
            for number, share in enumerate(shares):
                bins[number] += share * part / (stop_s - start_s)
        if len(self.sky_s) > 2 * PAST_S:
            for second in [s for s in self.sky_s if not stop_s - PAST_S - 1 < s <= stop_s]:
                del self.sky_s[second]

    def _time(self, at_s: float, ratio: float, model: str) -> None:
        self.batches.append(Batch(self.end_s or 0.0, ratio, model))
        at = math.floor((math.log10(ratio) - LOWEST) * BINS_A_DECADE)
        self._count(at_s, ("dt", model, min(max(at, 0), BINS - 1)))

    @property
    def is_live(self) -> bool:
        """Whether it stands on the clock of the wall."""
        return self.wired or self.health is not None

    def state(self, now_s: float) -> str:
        """Give its state: what it says of itself, unless it says nothing any more."""
        quiet_s = now_s - self.heard_s
        if self.health is None:
            if self.expected:
                return "no contact" if quiet_s > CONTACT_S / 3 else "waiting"
            if not self.wired:
                return "recorded"
            return "no contact" if quiet_s > CONTACT_S else "live"
        if self.health.state == "stopping" and quiet_s > CONTACT_S / 3:
            return "ended"
        patience_s = max(CONTACT_S, CONTACT_TIMES * (self.health.every_s or 0.0))
        if quiet_s > patience_s:
            return "no contact"
        return "no sky" if self.health.state == "live" and self._is_blank else self.health.state

    @property
    def _is_blank(self) -> bool:
        """Whether data come of which hardly any can be used: the receiver may be off."""
        if self.end_s is None:
            return False
        latest = [self.sky_s.get(math.floor(self.end_s) - n, ()) for n in range(SKY_S)]
        searched, masked = (sum(parts[n] for parts in latest if parts) for n in SEARCHED_MASKED)
        return masked > USED * (searched + masked) and masked > SKY_S / 6

    def is_past(self, now_s: float) -> bool:
        """Whether it ended so long ago that nobody asks for it."""
        return self.state(now_s) == "ended" and now_s - self.heard_s > FORGET_S

    def newest_s(self, now_s: float) -> float:
        """Give where its time axis ends."""
        return now_s if self.is_live or self.end_s is None else self.end_s

    def stage_shares(self) -> dict[str, float]:
        """Give the part of real time that each stage took of the last batch."""
        if self.health is None or not self.health.budget_s:
            return {}
        budget_s = self.health.budget_s
        told = self.health.stage_seconds
        return {stage: told[stage] / budget_s for stage in WORK if stage in told}

    def described(self, now_s: float) -> dict[str, Any]:
        """Describe it in plain values, for the page."""
        health, latest = self.health, self.latest
        sky = self.total("sky", now_s)
        told = {
            "state": self.state(now_s),
            "heard_s": round(now_s - self.heard_s, 1),
            "found": self.total("found", now_s).total(),
            "candidates": self.total("candidates", now_s).total(),
            "injected": self.total("injected", now_s).total(),
            "sky_s": {fate: sky["sky", fate] / 1e6 for fate in FATES},
            "threshold": latest.threshold if latest else None,
            "masked_channels": latest.masked_channels / latest.nchans if latest else None,
        }
        if health is not None:
            wanted = {"ratio", "latency_s", "rung", "rungs", "rung_name", "news", "quiet_s"}
            wanted |= {"recovered", "queues", "failing", "dt_s", "budget_s", "uptime_s"}
            wanted |= {"backlog_s"}
            told |= health.model_dump(include=wanted)
        return told


def epoch_s(created: str) -> float:
    """Give the date of a message in seconds since 1970."""
    return datetime.fromisoformat(created).timestamp()
