"""The journal: every message is on disk before it is sent.

One SQLite file, run after run: the messages of earlier runs stay. Every commit is on
the disk when `Journal.record` returns (WAL, synchronous=FULL), so a message that
anybody has seen is still here after a SIGKILL or a power cut. Beside the file stand
its ``-wal`` and ``-shm`` (SQLite's) and ``.lock`` (ours: one writer).
"""

import logging
import os
import sqlite3
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from ..errors import SinkError
from ..wire import (
    CoverageMessage,
    DetectionMessage,
    HealthMessage,
    InjectionMessage,
    Message,
    decode,
    encode,
    message_id,
)
from .lock import lock
from .reader import (
    ANEW,
    APPLICATION_ID,
    LATEST,
    SCHEMA_VERSION,
    JournalReader,
    connect,
    explained,
    is_journal,
)

logger = logging.getLogger(__name__)

#: Messages that are forgotten at a time: the stream waits for it.
MOST_FORGOTTEN = 1000

_SCHEMA = (
    """CREATE TABLE run (
        run INTEGER PRIMARY KEY,
        stream TEXT NOT NULL,
        run_key TEXT NOT NULL,
        next_seq INTEGER NOT NULL,
        sent_seq INTEGER NOT NULL)""",
    """CREATE TABLE message (
        run INTEGER NOT NULL,
        stream TEXT NOT NULL,
        seq INTEGER,
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        mjd REAL NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (run, id),
        UNIQUE (stream, seq))""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

_BEGIN = """INSERT INTO run (stream, run_key, next_seq, sent_seq)
    SELECT ?, ?, coalesce(max(next_seq), 1), coalesce(max(sent_seq), 0)
    FROM run WHERE stream = ?"""
_INSERT = f"""INSERT INTO message SELECT run, stream, ?, ?, ?, ?, ?
    FROM run WHERE run = {LATEST} ON CONFLICT (run, id) DO NOTHING"""


class Journal(JournalReader):
    """The journal in the hands of its one writer.

    Parameters
    ----------
    path
        The file; made when it is not there.
    stream
        Name of the stream.
    run_key
        A hash of what is computed (input, plan, model). When the latest run has the
        same one, it continues: what it holds is neither journalled nor numbered
        again. Under another key another run begins, with one line in the log. The
        messages of earlier ones stay, and numbers go on rising over all runs of a
        stream. None goes on with the latest run, whatever its key: `begin` chooses.

    Raises
    ------
    SinkError
        As `JournalReader`; and when another process writes to the same journal.
    """

    def __init__(self, path: Path | str, stream: str, run_key: str | None) -> None:
        self.path = Path(path)
        self._lock = lock(self.path)
        try:
            with explained(self.path):
                self._database = connect(self.path.resolve().as_uri())
            try:
                self._prepare()
                self._begin(stream, run_key, logging.WARNING)
                self._inode = self.path.stat().st_ino
            except BaseException:
                self._database.close()
                raise
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Close the file and let another writer have it."""
        super().close()
        self._lock.close()

    def record(self, messages: Iterable[Message]) -> list[Message]:
        """Journal what is new, all of it or nothing, and return what is to be sent.

        Pulses and coverage get their numbers here, rising by one; rejected
        candidates are kept without. What the journal knows already is left out.
        """
        fresh = []
        with self._transaction() as database:
            seq = self.next_seq
            for message in messages:
                published = _kind(message) != "rfi"
                numbered = message.model_copy(update={"seq": seq}) if published else message
                if self._insert(numbered) and published:
                    fresh.append(numbered)
                    seq += 1
            if fresh:
                database.execute(f"UPDATE run SET next_seq = ? WHERE run = {LATEST}", (seq,))
        return fresh

    def unsent(self) -> list[Message]:
        """Give what was journalled but not marked as sent, by number: send it first.

        What an earlier run of the stream left unsent is among it.
        """
        return [decode(body) for _, body in self.since(self._of_run("sent_seq") + 1, -1)]

    def mark_sent(self, seq: int) -> None:
        """Note that everything up to number ``seq`` was handed over to every sink.

        A kill may still lose what has not left the machine by then; the replay has it.
        Should a power cut lose the note, those messages are sent twice: it is not worth
        another wait for the disk.
        """
        with explained(self.path):
            self._database.execute("PRAGMA synchronous = NORMAL")
            update = f"UPDATE run SET sent_seq = max(sent_seq, ?) WHERE run = {LATEST}"
            self._database.execute(update, (seq,))
            self._database.execute("PRAGMA synchronous = FULL")

    def begin(self, run_key: str) -> None:
        """Begin another run of the stream, unless the latest one has the same key."""
        self._begin(self.stream, run_key, logging.INFO)

    @property
    def is_there(self) -> bool:
        """Whether its name, and that of its lock, still mean the files that are open."""
        try:
            lock = os.fstat(self._lock.fileno())
            named = self.path.with_name(f"{self.path.name}.lock").stat()
            return os.path.samestat(lock, named) and self.path.stat().st_ino == self._inode
        except OSError:
            return False

    @property
    def run_key(self) -> str:
        """The key of the latest run."""
        return str(self._of_run("run_key"))

    def forget(self, keep: int) -> int:
        """Forget the oldest messages but for so many, a part of them at a time.

        Returns
        -------
        gone
            How many were forgotten: with `MOST_FORGOTTEN` there may be more.
        """
        with self._transaction() as database:
            (oldest,) = database.execute("SELECT min(rowid) FROM message").fetchone()
            (newest,) = database.execute("SELECT max(rowid) FROM message").fetchone()
            if newest is None or newest - oldest < keep:
                return 0
            until = min(oldest + MOST_FORGOTTEN, newest - keep + 1)
            unsent = f"(SELECT sent_seq FROM run WHERE run = {LATEST})"
            delete = f"DELETE FROM message WHERE rowid < ? AND (seq IS NULL OR seq <= {unsent})"
            return database.execute(delete, (until,)).rowcount

    def begin_anew_next_time(self) -> None:
        """Let no later run continue this one: what comes now was cut short."""
        with explained(self.path):
            self._database.execute(f"UPDATE run SET run_key = '' WHERE run = {LATEST}")

    def _prepare(self) -> None:
        with explained(self.path):
            # Before anything is written: a file of somebody else's stays as it is.
            known = is_journal(self._database, self.path)
            (verdict,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                where = " ".join(verdict.split())
                raise SinkError(self.path, f"the journal is damaged ({where})", ANEW)
            (mode,) = self._database.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise SinkError(self.path, "no WAL on this file system", "use a local disk")
            self._database.execute("PRAGMA synchronous = FULL")
        if not known:
            with self._transaction() as database:
                for statement in _SCHEMA:
                    database.execute(statement)

    def _begin(self, stream: str, run_key: str | None, level: int) -> None:
        with self._transaction() as database:
            query = f"SELECT stream, run_key FROM run WHERE run = {LATEST}"
            latest = database.execute(query).fetchone()
            if latest is not None and latest[0] == stream and run_key in (None, latest[1]):
                return
            database.execute(_BEGIN, (stream, run_key or "", stream))
            (kept,) = database.execute("SELECT count(*) FROM message").fetchone()
        if kept:
            told = "%s: another run begins; %d messages of earlier ones stay in the journal"
            logger.log(level, told, self.path, kept)

    def _insert(self, message: Message) -> bool:
        row = (message.seq, message_id(message), _kind(message), _mjd(message), encode(message))
        return self._database.execute(_INSERT, row).rowcount == 1

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with explained(self.path), self._database as database:
            database.execute("BEGIN IMMEDIATE")
            yield database


def remove_journal(path: Path, stream: str) -> None:
    """Remove a journal that holds runs of one stream only; any other file stays.

    Raises
    ------
    SinkError
        Another process writes to it.
    """
    try:
        with JournalReader(path) as journal:
            streams = journal.streams
    except SinkError:  # none there, or none: whoever opens it says so
        return
    if streams == {stream}:
        with lock(path):
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)


def _kind(message: Message) -> str:
    if isinstance(message, DetectionMessage):
        return message.label
    kinds = {CoverageMessage: "coverage", InjectionMessage: "injection", HealthMessage: "health"}
    return kinds[type(message)]


def _mjd(message: Message) -> float:
    """Give the date of what a message is about; health has none."""
    if isinstance(message, HealthMessage):
        return 0.0
    return message.mjd_start if isinstance(message, CoverageMessage) else message.mjd
