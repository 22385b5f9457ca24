"""The last stage: journal first, then every sink."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from .data import Detection, Report
from .dispersion import sweep_s
from .errors import SinkError
from .metrics import CANDIDATES, DETECTIONS, LATENCY_SECONDS, SINK_ERRORS
from .sinks import Sink
from .sinks.journal import Journal
from .wire import (
    CoverageMessage,
    Message,
    Origin,
    coverage_message,
    detection_message,
)

logger = logging.getLogger(__name__)

type ReceivedAt = Callable[[int], float]


def publish(
    reports: Iterable[Report],
    journal: Journal,
    sinks: Sequence[Sink],
    origin: Origin,
    received_at: ReceivedAt | None = None,
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
    received_at
        For a live stream: the `time.monotonic` at which a sample came in.

    Raises
    ------
    SinkError
        The journal cannot be written: nothing may be sent that is not in it.
    """
    outlets = [_Outlet(sink) for sink in sinks]
    _send(journal.unsent(), journal, outlets)
    for report in reports:
        messages = _messages(report, origin, received_at)
        _send(journal.record(messages), journal, outlets)
        yield report


def _messages(report: Report, origin: Origin, received_at: ReceivedAt | None) -> Iterator[Message]:
    # The coverage last: whoever has it knows that the detections went before.
    for detection in report.detections:
        CANDIDATES.labels(label=detection.label).inc()
        latency_s = None
        if received_at is not None:
            latency_s = time.monotonic() - received_at(_last_sample(detection, origin))
        yield detection_message(detection, origin, latency_s=latency_s)
    pulses = sum(detection.label == "pulse" for detection in report.detections)
    yield coverage_message(report.coverage, report.budget, origin, detections=pulses)


def _last_sample(detection: Detection, origin: Origin) -> int:
    """Sample at which the pulse has left the bottom of the band."""
    found, header = detection.candidate, origin.header
    sweep = sweep_s(max(found.dm, 0.0), header.freqs_mhz) / header.tsamp_s
    return round(found.sample + sweep + found.width_samples / 2)


def _send(messages: Sequence[Message], journal: Journal, outlets: Sequence["_Outlet"]) -> None:
    for message in messages:
        for outlet in outlets:
            outlet.send(message)
        if not isinstance(message, CoverageMessage):
            DETECTIONS.labels(injected=str(message.injected).lower()).inc()
            if message.latency_s is not None:
                LATENCY_SECONDS.observe(message.latency_s)
    if messages and messages[-1].seq is not None:
        journal.mark_sent(messages[-1].seq)


class _Outlet:
    """A sink, and whether it works."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lost = 0
        self._errors = SINK_ERRORS.labels(sink=sink.name)

    def send(self, message: Message) -> None:
        """Offer one message; a failure is counted, and told when it is news."""
        try:
            self._sink.send(message)
        except SinkError as error:
            self._errors.inc()
            if not self._lost:
                logger.warning("sink %s fails, the others go on: %s", self._sink.name, error)
            self._lost += 1
        else:
            if self._lost:
                logger.warning("sink %s works again; it missed %d", self._sink.name, self._lost)
            self._lost = 0
