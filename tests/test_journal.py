"""The journal: nothing that it acknowledged is lost, whatever happens to the program."""

import itertools
import logging
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from mlppa.errors import SinkError
from mlppa.publish import publish
from mlppa.sinks.journal import Journal
from mlppa.sinks.reader import SCHEMA_VERSION, JournalReader
from mlppa.wire import Message, decode, message_id

from .messages import ORIGIN, cov_message, detection_message, report

ROOT = Path(__file__).parents[1]
#: How often to kill; more by hand: ``MLPPA_KILLS=50 pytest tests/test_journal.py -k kill``.
KILLS = int(os.environ.get("MLPPA_KILLS", "4"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal(path, "askap", "run 1") as journal:
        yield journal


def batch(number: int) -> list[Message]:
    sample = number * 1000.0
    return [
        detection_message(sample=sample + 1),
        detection_message(sample=sample + 2, label="rfi"),
        cov_message(number),
    ]


def seqs(messages: list[Message]) -> list[int | None]:
    return [message.seq for message in messages]


def test_published_messages_are_numbered_and_rejected_ones_kept(journal: Journal) -> None:
    assert seqs(journal.record(batch(0))) == [1, 2]
    assert seqs(journal.record(batch(1))) == [3, 4]
    assert journal.next_seq == 5
    assert [m.seq for m in journal.candidates()] == [1, None, 3, None]
    assert [m.label for m in journal.candidates()] == ["pulse", "rfi"] * 2
    assert [m.seq for m in journal.detections()] == [1, 3]
    assert [m.start for m in journal.coverage()] == [0, 1000]


def test_what_is_known_is_neither_journalled_nor_numbered_again(path: Path) -> None:
    with Journal(path, "askap", "run 1") as first:
        first.record(batch(0))
    with Journal(path, "askap", "run 1") as again:
        assert again.record(batch(0)) == []
        assert again.record([*batch(0), *batch(1)]) == again.unsent()[2:]
        assert [seq for seq, _ in again.since(0, 100)] == [1, 2, 3, 4]
        assert len(list(again.candidates())) == 4


def test_a_run_that_was_cut_short_is_not_continued(path: Path) -> None:
    with Journal(path, "askap", "run 1") as first:
        first.begin_anew_next_time()
        first.record(batch(0))
    with Journal(path, "askap", "run 1") as again:
        assert list(again.candidates()) == []
        assert seqs(again.record(batch(0))) == [3, 4]


def test_a_journal_that_has_only_begun_is_empty(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        """Stands for SIGKILL between the tables and their first row."""

    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "_begin", die)
        with pytest.raises(KilledError):
            Journal(path, "askap", "run 1")
    with JournalReader(path) as reader, pytest.raises(SinkError, match="is empty"):
        _ = reader.next_seq
    with Journal(path, "askap", "run 1") as journal:
        assert seqs(journal.record(batch(0))) == [1, 2]


def test_another_run_begins_empty_and_forgets_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Journal(path, "askap", "run 1") as first:
        before = first.record(batch(0))
        first.mark_sent(2)
    assert not caplog.records
    with Journal(path, "askap", "run 2") as second:
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "another run begins; 3 messages of earlier ones stay" in caplog.text
        assert [*second.candidates(), *second.coverage(), *second.unsent()] == []
        again = second.record(batch(0))
        assert seqs(again) == [3, 4]
        assert [message_id(m) for m in again] == [message_id(m) for m in before]
        assert seqs(list(second.detections())) == [3]
        assert [decode(body) for _, body in second.since(0, 100)] == before + again
    with Journal(path, "askap", "run 1") as third:
        assert list(third.candidates()) == [], "only the latest run is continued"
        assert seqs(third.record(batch(0))) == [5, 6]


def test_what_an_earlier_run_left_unsent_goes_out_under_its_numbers(path: Path) -> None:
    with Journal(path, "askap", "run 1") as first:
        unsent = first.record(batch(0))
    with Journal(path, "askap", "run 2") as second:
        assert second.unsent() == unsent
        second.mark_sent(2)
    with Journal(path, "askap", "run 3") as third:
        assert third.unsent() == []


def test_every_stream_has_numbers_of_its_own(path: Path) -> None:
    with Journal(path, "askap", "run 1") as journal:
        journal.record(batch(0))
    with Journal(path, "parkes", "run 1") as journal:
        assert (journal.stream, journal.next_seq) == ("parkes", 1)
        assert seqs(journal.record(batch(0))) == [1, 2]
        assert len(journal.since(0, 100)) == len(journal.unsent()) == 2
    with Journal(path, "askap", "run 1") as journal:
        assert journal.next_seq == 3
        assert [seq for seq, _ in journal.since(0, 100)] == [1, 2]


def test_a_message_is_unsent_until_it_is_marked(path: Path) -> None:
    with Journal(path, "askap", "run 1") as first:
        sent = first.record(batch(0))
        first.mark_sent(2)
        unsent = first.record(batch(1))
    with Journal(path, "askap", "run 1") as second:
        assert second.unsent() == unsent
        second.mark_sent(4)
        second.mark_sent(1)
        assert second.unsent() == []
        assert [decode(body) for _, body in second.since(1, 2)] == sent


def test_since_gives_from_that_number_on(journal: Journal) -> None:
    for number in range(5):
        journal.record(batch(number))
    assert [seq for seq, _ in journal.since(4, 3)] == [4, 5, 6]
    assert [seq for seq, _ in journal.since(9, 100)] == [9, 10]
    assert journal.since(11, 100) == []


def test_all_of_a_batch_or_nothing(journal: Journal) -> None:
    def breaks_off() -> Iterator[Message]:
        yield from batch(0)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        journal.record(breaks_off())
    assert list(journal.candidates()) == []
    assert seqs(journal.record(batch(0))) == [1, 2]


def test_candidates_come_by_time(journal: Journal) -> None:
    journal.record([detection_message(sample=s) for s in (3000.0, 1000.0, 2000.0)])
    assert [m.sample for m in journal.candidates()] == [1000, 2000, 3000]


def test_only_one_writes(path: Path, journal: Journal) -> None:
    with pytest.raises(SinkError, match="another process writes"):
        Journal(path, "askap", "run 1")
    journal.close()
    Journal(path, "askap", "run 1").close()


def test_others_read_while_one_writes(path: Path, journal: Journal) -> None:
    with JournalReader(path) as reader:
        for number in range(3):
            journal.record(batch(number))
            assert reader.next_seq == journal.next_seq
        assert reader.stream == "askap"
        assert len(list(reader.candidates())) == 6


def test_a_file_that_is_no_journal_is_left_alone(path: Path) -> None:
    path.write_bytes(b"precious " * 1000)
    with pytest.raises(SinkError, match="not a journal"):
        Journal(path, "askap", "run 1")
    assert path.read_bytes() == b"precious " * 1000


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE precious (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(SinkError, match="another program"):
        Journal(path, "askap", "run 1")
    assert path.read_bytes() == before


def test_a_damaged_journal_is_refused(path: Path) -> None:
    with Journal(path, "askap", "run 1") as journal:
        for number in range(50):
            journal.record(batch(number))
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\x5a" * 5 * 4096)
    with pytest.raises(SinkError, match=r"damaged.*move it away"):
        Journal(path, "askap", "run 1")


def test_a_truncated_journal_is_refused(path: Path) -> None:
    with Journal(path, "askap", "run 1") as journal:
        for number in range(50):
            journal.record(batch(number))
    os.truncate(path, 2 * 4096 + 100)
    with pytest.raises(SinkError, match="damaged"):
        Journal(path, "askap", "run 1")


@pytest.mark.parametrize(
    ("version", "remedy"), [(1, "move it away"), (SCHEMA_VERSION + 1, "use the newer mlppa")]
)
def test_a_journal_of_another_layout_is_refused_and_left_alone(
    path: Path, version: int, remedy: str
) -> None:
    with Journal(path, "askap", "run 1") as journal:
        journal.record(batch(0))
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA user_version = {version}")
    other.close()
    before = path.read_bytes()
    told = f"version {version}, this program knows {SCHEMA_VERSION}; {remedy}"
    with pytest.raises(SinkError, match=told):
        Journal(path, "askap", "run 1")
    with pytest.raises(SinkError, match=told):
        JournalReader(path)
    assert path.read_bytes() == before


def test_a_locked_database_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlppa.sinks.reader.PATIENCE_S", 0.05)
    with Journal(path, "askap", "run 1") as journal:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SinkError, match="another program holds"):
            journal.record(batch(0))
        other.close()
        assert seqs(journal.record(batch(0))) == [1, 2]


def test_a_full_disk_loses_nothing_that_was_written(path: Path) -> None:
    with Journal(path, "askap", "run 1") as journal:
        journal.record(batch(0))
        database = journal._database
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages + 2}")
        many = itertools.chain.from_iterable(map(batch, range(1, 100)))
        with pytest.raises(SinkError, match=r"disk is full.*free some space"):
            journal.record(many)
        database.execute("PRAGMA max_page_count = 1000000")
        assert [seq for seq, _ in journal.since(0, 1000)] == [1, 2]
        assert seqs(journal.record(batch(1000))) == [3, 4]


@pytest.mark.parametrize("reads_only", [False, True])
def test_a_missing_folder_is_named(tmp_path: Path, reads_only: bool) -> None:
    path = tmp_path / "nowhere" / "journal.sqlite"
    with pytest.raises(SinkError, match="nowhere"):
        JournalReader(path) if reads_only else Journal(path, "askap", "run 1")
    assert not path.parent.exists()


class PrintingSink:
    """Says what it was given: what is printed was acknowledged."""

    name = "printing"

    def send(self, message: Message) -> None:
        sys.stdout.write(f"{message.seq} {message_id(message)}\n")
        sys.stdout.flush()

    def close(self) -> None:
        pass


def publish_until_killed(path: str, run_key: str) -> None:
    """Work through the same input from its start, as a restarted program does."""
    sys.stdout.write("begin\n")
    sys.stdout.flush()
    with Journal(path, "askap", run_key) as journal:
        for _ in publish(map(report, itertools.count()), journal, [PrintingSink()], ORIGIN):
            pass


def killed_after(seconds: float, path: Path, run_key: str = "run 1") -> list[tuple[int, str]]:
    """Run a publisher, kill it at some moment of its work, and give what it had sent."""
    call = f"publish_until_killed({str(path)!r}, {run_key!r})"
    code = f"from tests.test_journal import *; {call}"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as child:
        stdout = cast("Iterator[str]", child.stdout)
        assert next(stdout) == "begin\n"
        time.sleep(seconds)
        child.kill()
        lines = [*stdout]
    assert child.returncode == -9
    # The last line may be cut short.
    fields = [line.split() for line in lines if line.endswith("\n")]
    return [(int(seq), name) for seq, name in fields]


def test_killed_at_any_moment_and_started_again(path: Path) -> None:
    moments = random.Random(8).choices(range(400), k=KILLS)
    sent: dict[int, str] = {}
    for moment_ms in moments:
        for seq, name in killed_after(moment_ms / 1000, path):
            assert sent.setdefault(seq, name) == name, "a number was given twice"

        database = sqlite3.connect(path)
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        database.close()
        with Journal(path, "askap", "run 1") as journal:
            unsent = journal.unsent()
            rows = [(seq, message_id(decode(body))) for seq, body in journal.since(0, 10**6)]
            rejected = [m.sample for m in journal.candidates() if m.label == "rfi"]
        assert [seq for seq, _ in rows] == list(range(1, len(rows) + 1)), "a hole"
        assert len({name for _, name in rows}) == len(rows), "an id was given twice"
        assert sent.items() <= dict(rows).items(), "something sent is lost"
        assert {seq for seq, _ in rows} - set(sent) <= {message.seq for message in unsent}
        assert len(rejected) == len(set(rejected)) == len(rows) // 2
    assert len(sent) >= KILLS


def test_killed_in_one_run_after_another(path: Path) -> None:
    sent: dict[int, str] = {}
    for run in range(KILLS):
        heard = killed_after(0.3, path, f"run {run}")
        assert heard
        for seq, name in heard:
            assert sent.setdefault(seq, name) == name, "a number was given twice"
        with Journal(path, "askap", f"run {run}") as journal:
            rows = [(seq, message_id(decode(body))) for seq, body in journal.since(0, 10**6)]
            names = [m.id for m in journal.candidates()]
            names += [message_id(m) for m in journal.coverage()]
        assert [seq for seq, _ in rows] == list(range(1, len(rows) + 1)), "a hole"
        assert sent.items() <= dict(rows).items(), "something sent is lost"
        assert len(set(names)) == len(names) > 0, "an id was given twice in a run"
