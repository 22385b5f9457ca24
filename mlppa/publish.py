"""The last stage: journal first, then every sink."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from .data import Detection, Report
from .dispersion import sweep_s
from .errors import SinkError
from .metrics import CANDIDATES, DETECTIONS, DROPPED, LATENCY_SECONDS, SINK_ERRORS
from .sinks import Sink
from .sinks.journal import Journal
from .wire import (
    CoverageMessage,
    DetectionMessage,
    Message,
    Origin,
    coverage_message,
    detection_message,
    injection_message,
)

logger = logging.getLogger(__name__)

type ReceivedAt = Callable[[int], float]


def publish(
    reports: Iterable[Report],
    journal: Journal,
    sinks: Sequence[Sink],
    origin: Origin,
) -> Iterator[Report]:
    """Journal and send what was found, then what was looked at; pass the reports on.

    A report comes out when its messages are on the disk and have been offered to
    every sink. First of all goes out what an earlier process journalled and did
    not send. A sink that fails is counted and told about once; the others, and the
    stream, go on.

    Parameters
    ----------
    reports
        Of one stream, in order.
    journal
        Of the same stream.
    sinks
        The caller closes them.
    origin
        What the messages of the run have in common.

    Raises
    ------
    SinkError
        The journal cannot be written: nothing may be sent that is not in it.
    """
    publisher = Publisher(journal, [Outlet(sink) for sink in sinks])
    publisher.catch_up()
    for report in reports:
        publisher.offer(messages_of(report, origin))
        yield report


def messages_of(
    report: Report, origin: Origin, received_at: ReceivedAt | None = None
) -> Iterator[Message]:
    """Give the messages of a report, not yet numbered.

    Parameters
    ----------
    received_at
        For a live stream: the `time.monotonic` at which a sample came in.
    """
    # The coverage last: whoever has it knows that the detections went before.
    for detection in report.detections:
        CANDIDATES.labels(label=detection.label).inc()
        latency_s = None
        if received_at is not None:
            latency_s = time.monotonic() - received_at(_last_sample(detection, origin))
        yield detection_message(detection, origin, latency_s=latency_s)
    for injection in report.injections:
        yield injection_message(injection, origin)
    pulses = sum(detection.label == "pulse" for detection in report.detections)
    yield coverage_message(report.coverage, report.budget, origin, detections=pulses)


def _last_sample(detection: Detection, origin: Origin) -> int:
    """Sample at which the pulse has left the bottom of the band."""
    found, header = detection.candidate, origin.header
    sweep = sweep_s(max(found.dm, 0.0), header.freqs_mhz) / header.tsamp_s
    return round(found.sample + sweep + found.width_samples / 2)


class Publisher:
    """Numbers, journals and sends the messages of one stream.

    Parameters
    ----------
    journal
        Of the stream.
    outlets
        Where messages go; other streams may use the same.
    patience
        So many messages are kept for a journal that cannot be written; beyond that the
        oldest are lost, and counted. With 0 it is an error at once.

    Attributes
    ----------
    fault
        Why the journal cannot be written; None while it can.
    pending
        What waits for it.
    before
        What an earlier process has looked at last in the run that goes on; None for a new one.
    """

    def __init__(self, journal: Journal, outlets: Sequence["Outlet"], patience: int = 0) -> None:
        self.fault: SinkError | None = None
        self._journal = journal
        self._outlets = outlets
        self._patience = patience
        self._key: tuple[str, int] | None = None
        self.pending: list[Message] = []
        self.before: CoverageMessage | None = None
        self._errors = SINK_ERRORS.labels(sink="journal")
        self._dropped = DROPPED.labels(queue="journal")

    def begin(self, key: str, times: int) -> None:
        """Let what comes now belong to another run.

        Parameters
        ----------
        key
            What the run is of.
        times
            How often this process has begun one of this key: the first one goes on with that
            of an earlier process.
        """
        self.before = None
        self._key = key, times
        self.offer([])

    def _begin(self, key: str, times: int) -> None:
        latest, _, number = self._journal.run_key.partition("#")
        if latest != key:
            self._journal.begin(key if times == 1 else f"{key}#{times}")
        elif times > 1:
            self._journal.begin(f"{key}#{int(number or 1) + 1}")
        else:
            self.before = self._journal.decided()

    def use(self, journal: Journal) -> None:
        """Go on with another journal: the one before is gone."""
        self._journal = journal

    def catch_up(self) -> None:
        """Send what an earlier process journalled and did not send."""
        self._send(self._journal.unsent())

    def offer(self, messages: Iterable[Message]) -> list[Message]:
        """Journal messages, all or none, and send them; give those that are new.

        Raises
        ------
        SinkError
            The journal cannot be written and there is no patience.
        """
        self.pending += messages
        try:
            if self._key is not None:
                self._begin(*self._key)
                self._key = None
            fresh = self._journal.record(self.pending)
            self.pending = []
            self._send(fresh)
        except SinkError as error:
            if not self._patience:
                raise
            self._wait(error)
            return []
        if self.fault is not None:
            logger.warning("the journal can be written again: what waited is sent")
            self.fault = None
        return fresh

    def _wait(self, error: SinkError) -> None:
        self._errors.inc()
        if self.fault is None:
            logger.error("nothing is sent until it can be journalled: %s", error)
        self.fault = error
        lost = len(self.pending) - self._patience
        if lost > 0:
            self._dropped.inc(lost)
            # what was looked at can be told from its neighbours, a pulse cannot
            self.pending.sort(key=lambda one: isinstance(one, DetectionMessage))
            del self.pending[:lost]

    def _send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            for outlet in self._outlets:
                outlet.send(message)
            if isinstance(message, DetectionMessage):
                DETECTIONS.labels(injected=str(message.injected).lower()).inc()
                if message.latency_s is not None:
                    LATENCY_SECONDS.observe(message.latency_s)
        if messages and messages[-1].seq is not None:
            self._journal.mark_sent(messages[-1].seq)


class Outlet:
    """A sink, and whether it works.

    Attributes
    ----------
    fault
        Why it does not; None where it does.
    """

    def __init__(self, sink: Sink) -> None:
        self.name = sink.name
        self.fault: SinkError | None = None
        self._sink = sink
        self._lost = 0
        self._errors = SINK_ERRORS.labels(sink=sink.name)

    def send(self, message: Message) -> None:
        """Offer one message; a failure is counted, and told when it is news."""
        try:
            self._sink.send(message)
        except SinkError as error:
            self._errors.inc()
            if self.fault is None:
                logger.warning("sink %s fails, the others go on: %s", self.name, error)
            self._lost += 1
            self.fault = error
        else:
            if self.fault is not None:
                logger.warning("sink %s works again; it missed %d", self.name, self._lost)
            self._lost, self.fault = 0, None
