"""The last stage: journal first, every sink after it, and no sink in the way of another."""

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlppa.data import Budget, Coverage, Report
from mlppa.dispersion import K_DM
from mlppa.errors import SinkError
from mlppa.publish import Outlet, Publisher, messages_of, publish
from mlppa.sinks.journal import Journal
from mlppa.sinks.memory import MemorySink
from mlppa.sinks.reader import JournalReader
from mlppa.wire import DetectionMessage, Message, topic

from .conftest import MetricDelta
from .messages import HEADER, ORIGIN, report

type Delta = type[MetricDelta]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite", "askap", "run 1") as journal:
        yield journal


class Flaky:
    """Fails for the messages with certain numbers."""

    name = "flaky"

    def __init__(self, *broken: int) -> None:
        self.broken = broken
        self.got: list[int | None] = []

    def send(self, message: Message) -> None:
        if message.seq in self.broken:
            raise SinkError("flaky", "out of order", "wait")
        self.got.append(message.seq)

    def close(self) -> None:
        pass


class Looking:
    """Calls something for every message that it is given."""

    name = "looking"

    def __init__(self, look: Callable[[Message], None]) -> None:
        self.send = look

    def close(self) -> None:
        pass


def test_detections_first_then_the_coverage(journal: Journal) -> None:
    sink = MemorySink()
    reports = [report(0), report(1)]
    assert list(publish(reports, journal, [sink], ORIGIN)) == reports
    assert [topic(m) for m in sink.messages] == [b"det.askap", b"cov.askap"] * 2
    assert [m.seq for m in sink.messages] == [1, 2, 3, 4]
    assert [m.label for m in journal.candidates()] == ["pulse", "rfi"] * 2
    assert [m.detections for m in journal.coverage()] == [1, 1]
    assert journal.unsent() == []


def test_an_empty_batch_is_told_too(journal: Journal) -> None:
    covered = Coverage(start=0, stop=10, searched=10, masked=0, missing=0)
    nothing = Report(covered, Budget(dt_s=0, budget_s=1), ())
    sink = MemorySink()
    list(publish([nothing], journal, [sink], ORIGIN))
    assert [topic(m) for m in sink.messages] == [b"cov.askap"]


def test_a_report_comes_out_when_it_has_been_sent(journal: Journal) -> None:
    sink = MemorySink()
    published = publish(iter([report(0), report(1)]), journal, [sink], ORIGIN)
    assert sink.messages == []
    next(published)
    assert [m.seq for m in sink.messages] == [1, 2]


def test_what_is_sent_stands_in_the_journal_and_is_not_yet_marked(journal: Journal) -> None:
    def look(message: Message) -> None:
        with JournalReader(journal.path) as reader:
            assert message.seq in [seq for seq, _ in reader.since(0, 100)]
        assert message in journal.unsent()

    assert len(list(publish([report(0), report(1)], journal, [Looking(look)], ORIGIN))) == 2


def test_what_was_not_sent_goes_out_first(tmp_path: Path) -> None:
    def dies(message: Message) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "journal.sqlite"
    with (
        Journal(path, "askap", "run 1") as journal,
        pytest.raises(KeyboardInterrupt),
    ):
        list(publish([report(0)], journal, [Looking(dies)], ORIGIN))
    sink = MemorySink()
    with Journal(path, "askap", "run 1") as journal:
        list(publish([report(0), report(1)], journal, [sink], ORIGIN))
    assert [m.seq for m in sink.messages] == [1, 2, 3, 4]


def test_the_same_input_again_sends_nothing(journal: Journal) -> None:
    list(publish([report(0)], journal, [], ORIGIN))
    sink = MemorySink()
    assert len(list(publish([report(0)], journal, [sink], ORIGIN))) == 1
    assert sink.messages == []


def test_a_sink_that_fails_is_counted_told_once_and_in_nobodys_way(
    journal: Journal, caplog: pytest.LogCaptureFixture, metric_delta: Delta
) -> None:
    flaky, healthy = Flaky(2, 3, 4), MemorySink()
    errors = metric_delta("mlppa_sink_errors_total", sink="flaky")
    list(publish(map(report, range(4)), journal, [flaky, healthy], ORIGIN))
    assert [m.seq for m in healthy.messages] == list(range(1, 9))
    assert flaky.got == [1, 5, 6, 7, 8]
    assert errors() == 3
    fails, again = caplog.records
    assert "out of order" in fails.message
    assert "it missed 3" in again.message
    assert journal.unsent() == []


def test_a_sink_with_a_bug_is_not_hidden(journal: Journal) -> None:
    def bug(message: Message) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(publish([report(0)], journal, [Looking(bug)], ORIGIN))


def test_nothing_is_sent_that_cannot_be_journalled(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(messages: object) -> list[Message]:
        raise SinkError("journal", "the disk is full", "free some space")

    monkeypatch.setattr(journal, "record", full)
    sink = MemorySink()
    with pytest.raises(SinkError, match="disk is full"):
        list(publish([report(0)], journal, [sink], ORIGIN))
    assert sink.messages == []


def test_latency_counts_from_the_last_sample_of_the_pulse(journal: Journal) -> None:
    asked: list[int] = []

    def received_at(sample: int) -> float:
        asked.append(sample)
        return time.monotonic() - 2.5

    sink = MemorySink()
    Publisher(journal, [Outlet(sink)]).offer(messages_of(report(0), ORIGIN, received_at))
    message = sink.messages[0]
    assert isinstance(message, DetectionMessage)
    assert message.latency_s == pytest.approx(2.5, abs=0.2)
    sweep_s = K_DM * 362.42 * (HEADER.f_lo_mhz**-2 - HEADER.f_hi_mhz**-2)
    assert asked[0] == pytest.approx(500 + sweep_s / HEADER.tsamp_s + 2, abs=1)


def test_candidates_and_detections_are_counted(journal: Journal, metric_delta: Delta) -> None:
    pulses = metric_delta("mlppa_candidates_total", label="pulse")
    rejected = metric_delta("mlppa_candidates_total", label="rfi")
    published = metric_delta("mlppa_detections_total", injected="false")
    list(publish([report(0), report(1), report(1)], journal, [], ORIGIN))
    assert (pulses(), rejected(), published()) == (3, 3, 2)


def test_a_healthy_run_says_nothing(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    list(publish(map(report, range(3)), journal, [MemorySink()], ORIGIN))
    assert not caplog.records
