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

#: What is shown of the past, in seconds: by the clock of live streams, by that of the sky else.
PAST_S = 600

#: Batches whose dT is remembered, and detections.
BATCHES, PULSES = 1500, 60

#: Where nothing is heard for so long, and health was told before, there is no contact.
CONTACT_S = 30.0

#: Stages that must keep pace, those of a thread side by side; others wait for the sky.
WORK = tuple(stage for stages in THREADS.values() for stage in stages)

#: Bins of dT over the budget: so many to a decade, from 10^LOWEST to 10^HIGHEST.
BINS_A_DECADE, LOWEST, HIGHEST = 5, -6, 1
BINS = (HIGHEST - LOWEST) * BINS_A_DECADE


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
    """

    name: str
    source: int
    health: HealthMessage | None = None
    heard_s: float = 0.0
    #: Where the sky ends that was looked at.
    end_s: float | None = None
    sky_s: dict[int, list[float]] = field(default_factory=dict)
    total_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(FATES, 0.0))
    batches: deque[Batch] = field(default_factory=lambda: deque(maxlen=BATCHES))
    histograms: dict[str, list[int]] = field(default_factory=dict)
    pulses: deque[DetectionMessage] = field(default_factory=lambda: deque(maxlen=PULSES))
    ids: deque[str] = field(default_factory=lambda: deque(maxlen=4 * PULSES))
    injected: Counter[tuple[int, bool]] = field(default_factory=Counter)
    found: int = 0
    candidates: int = 0
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
                self.injected[edge, message.found] += 1
            case _:
                pass

    def remember(self, pulses: Iterable[DetectionMessage]) -> None:
        """Take up pulses, each once."""
        for pulse in pulses:
            if pulse.id not in self.ids:
                self.ids.append(pulse.id)
                self.pulses.append(pulse)
                self.found += not pulse.injected

    def _look(self, message: CoverageMessage) -> None:
        seconds = (message.stop - message.start) * message.tsamp_s
        self.latest = message
        self.candidates += message.candidates
        if self.is_live or self.end_s is None:
            self.end_s = epoch_s(message.created)
        else:
            self.end_s += seconds
        shares = [getattr(message, fate) * message.tsamp_s for fate in FATES]
        for fate, share in zip(FATES, shares, strict=True):
            self.total_s[fate] += share
        if seconds > 0:
            self._spread(self.end_s - seconds, self.end_s, shares)
        if message.candidates and message.dt_s > 0 and message.budget_s > 0:
            self._time(message.dt_s / message.budget_s, message.model or "unknown")

    def _spread(self, start_s: float, stop_s: float, shares: list[float]) -> None:
        """Lay sky into bins of a second, and let go of what is long past."""
        for second in range(math.floor(max(start_s, stop_s - PAST_S)), math.ceil(stop_s)):
            part = min(stop_s, second + 1) - max(start_s, second)
            bins = self.sky_s.setdefault(second, [0.0] * len(FATES))
            for number, share in enumerate(shares):
                bins[number] += share * part / (stop_s - start_s)
        while len(self.sky_s) > 2 * PAST_S:
            del self.sky_s[min(self.sky_s)]

    def _time(self, ratio: float, model: str) -> None:
        self.batches.append(Batch(self.end_s or 0.0, ratio, model))
        at = math.floor((math.log10(ratio) - LOWEST) * BINS_A_DECADE)
        self.histograms.setdefault(model, [0] * BINS)[min(max(at, 0), BINS - 1)] += 1

    @property
    def is_live(self) -> bool:
        """Whether it has told how it fares."""
        return self.health is not None

    def state(self, now_s: float) -> str:
        """Give its state: what it says of itself, unless it says nothing any more."""
        if self.health is None:
            return "recorded"
        if self.health.state == "stopping" and now_s - self.heard_s > CONTACT_S / 3:
            return "ended"
        return "no contact" if now_s - self.heard_s > CONTACT_S else self.health.state

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
        told = {
            "state": self.state(now_s),
            "heard_s": round(now_s - self.heard_s, 1),
            "found": self.found,
            "candidates": self.candidates,
            "injected": self.injected.total(),
            "sky_s": {fate: round(s, 3) for fate, s in self.total_s.items()},
            "threshold": latest.threshold if latest else None,
            "masked_channels": latest.masked_channels / latest.nchans if latest else None,
        }
        if health is not None:
            wanted = {"ratio", "latency_s", "rung", "rungs", "rung_name", "news", "quiet_s"}
            wanted |= {"recovered", "queues", "failing", "dt_s", "budget_s", "uptime_s"}
            told |= health.model_dump(include=wanted)
        return told


def epoch_s(created: str) -> float:
    """Give the date of a message in seconds since 1970."""
    return datetime.fromisoformat(created).timestamp()
