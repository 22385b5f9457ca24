"""The journal: every message is on disk before it is sent.

One SQLite file, run after run: the messages of earlier runs stay. Every commit is on
the disk when `Journal.record` returns (WAL, synchronous=FULL), so a message that
anybody has seen is still here after a SIGKILL or a power cut. Beside the file stand
its ``-wal`` and ``-shm`` (SQLite's) and ``.lock`` (ours: one writer).
"""

import logging
import os
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

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

logger = logging.getLogger(__name__)

#: "mlpp": tells our files from other programs' (PRAGMA application_id).
APPLICATION_ID = 0x6D6C7070
SCHEMA_VERSION = 2

#: How long to wait for another process that holds the file for a moment.
PATIENCE_S = 5.0

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

_LATEST = "(SELECT max(run) FROM run)"
_BEGIN = """INSERT INTO run (stream, run_key, next_seq, sent_seq)
    SELECT ?, ?, coalesce(max(next_seq), 1), coalesce(max(sent_seq), 0)
    FROM run WHERE stream = ?"""
_INSERT = f"""INSERT INTO message SELECT run, stream, ?, ?, ?, ?, ?
    FROM run WHERE run = {_LATEST} ON CONFLICT (run, id) DO NOTHING"""

_ANEW = "move it away or name another file: a new journal is begun"
_TROUBLE = {
    sqlite3.SQLITE_NOTADB: ("not a journal", _ANEW),
    sqlite3.SQLITE_CORRUPT: ("the journal is damaged", _ANEW),
    sqlite3.SQLITE_BUSY: ("another program holds the file", "end that program"),
    sqlite3.SQLITE_LOCKED: ("another program holds the file", "end that program"),
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space; what is written is safe"),
    sqlite3.SQLITE_READONLY: ("the file cannot be written", "change its permissions"),
    sqlite3.SQLITE_CANTOPEN: ("the file cannot be opened", "make its folder, or name another"),
    sqlite3.SQLITE_IOERR: ("the disk reports an error", "check the disk and its quota"),
}


class JournalReader:
    """A journal as others may read it while its one writer goes on.

    `since` reaches back over all runs of a stream; the rest is of the latest run.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    SinkError
        Here and by every method: the file is missing, damaged, not a journal, of
        another version, or held by another program.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with _explained(self.path):
            uri = f"{self.path.resolve().as_uri()}?mode=ro"
            self._database = _connect(uri)
        try:
            if not _is_journal(self._database, self.path):
                raise _empty(self.path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def stream(self) -> str:
        """Name of the stream."""
        return str(self._of_run("stream"))

    @property
    def streams(self) -> set[str]:
        """Names of the streams of all runs."""
        with _explained(self.path):
            rows = self._database.execute("SELECT DISTINCT stream FROM run").fetchall()
        return {name for (name,) in rows}

    @property
    def next_seq(self) -> int:
        """The number that the next new message will bear."""
        return int(self._of_run("next_seq"))

    @property
    def run(self) -> int:
        """The number of the latest run."""
        return int(self._of_run("run"))

    @property
    def first_of_run(self) -> int:
        """The number of the first published message of the latest run, or of the next one."""
        query = f"SELECT min(seq) FROM message WHERE run = {_LATEST}"
        with _explained(self.path):
            (seq,) = self._database.execute(query).fetchone()
        return self.next_seq if seq is None else int(seq)

    @property
    def is_of_a_daemon(self) -> bool:
        """Whether it holds the health of a stream: what searches files tells none."""
        query = "SELECT EXISTS (SELECT 1 FROM message WHERE kind = 'health')"
        with _explained(self.path):
            (there,) = self._database.execute(query).fetchone()
        return bool(there)

    def since(self, seq: int, limit: int) -> list[tuple[int, bytes]]:
        """Give numbers and bytes of the first ``limit`` published messages from ``seq`` on."""
        query = "SELECT seq, body FROM message WHERE stream = ? AND seq >= ? ORDER BY seq LIMIT ?"
        with _explained(self.path):
            return self._database.execute(query, (self.stream, seq, limit)).fetchall()

    def detections(self) -> Iterator[DetectionMessage]:
        """Give all published pulses, by arrival."""
        return self._detections("kind = 'pulse'")

    def candidates(self) -> Iterator[DetectionMessage]:
        """Give all classified candidates, pulses and rejected ones, by arrival."""
        return self._detections("kind IN ('pulse', 'rfi')")

    def coverage(self) -> Iterator[CoverageMessage]:
        """Give all coverage messages, by time."""
        for message in self._messages("kind = 'coverage' ORDER BY mjd, seq"):
            if isinstance(message, CoverageMessage):
                yield message

    def decided(self) -> CoverageMessage | None:
        """Give the last that was looked at, in all runs of the stream; None before the first."""
        query = """SELECT body FROM message WHERE stream = ? AND kind = 'coverage'
            ORDER BY seq DESC LIMIT 1"""
        with _explained(self.path):
            row = self._database.execute(query, (self.stream,)).fetchone()
        message = decode(row[0]) if row else None
        return message if isinstance(message, CoverageMessage) else None

    def latest(self, count: int, kinds: Sequence[str] = ("pulse", "rfi")) -> list[DetectionMessage]:
        """Give the latest classified candidates, in all runs of the stream; the last first."""
        marks = ", ".join("?" * len(kinds))
        query = f"""SELECT body FROM message WHERE stream = ? AND kind IN ({marks})
            ORDER BY rowid DESC LIMIT ?"""
        with _explained(self.path):
            rows = self._database.execute(query, (self.stream, *kinds, count)).fetchall()
        messages = (decode(body) for (body,) in rows)
        return [one for one in messages if isinstance(one, DetectionMessage)]

    def injections(self) -> Iterator[InjectionMessage]:
        """Give what became of synthetic pulses, in all runs, by number."""
        query = "SELECT body FROM message WHERE kind = 'injection' ORDER BY seq"
        with _explained(self.path):
            for (body,) in self._database.execute(query):
                message = decode(body)
                assert isinstance(message, InjectionMessage)
                yield message

    def _detections(self, where: str) -> Iterator[DetectionMessage]:
        for message in self._messages(f"{where} ORDER BY mjd, id"):
            if isinstance(message, DetectionMessage):
                yield message

    def _messages(self, where: str) -> Iterator[Message]:
        query = f"SELECT body FROM message WHERE run = {_LATEST} AND {where}"
        with _explained(self.path):
            for (body,) in self._database.execute(query):
                yield decode(body)

    def _of_run(self, column: str) -> Any:
        query = f"SELECT {column} FROM run WHERE run = {_LATEST}"
        with _explained(self.path):
            row = self._database.execute(query).fetchone()
        if row is None:  # its tables are there, but its writer has only begun
            raise _empty(self.path)
        return row[0]


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
            with _explained(self.path):
                self._database = _connect(self.path.resolve().as_uri())
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
                database.execute(f"UPDATE run SET next_seq = ? WHERE run = {_LATEST}", (seq,))
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
        with _explained(self.path):
            self._database.execute("PRAGMA synchronous = NORMAL")
            update = f"UPDATE run SET sent_seq = max(sent_seq, ?) WHERE run = {_LATEST}"
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
            unsent = f"(SELECT sent_seq FROM run WHERE run = {_LATEST})"
            delete = f"DELETE FROM message WHERE rowid < ? AND (seq IS NULL OR seq <= {unsent})"
            return database.execute(delete, (until,)).rowcount

    def begin_anew_next_time(self) -> None:
        """Let no later run continue this one: what comes now was cut short."""
        with _explained(self.path):
            self._database.execute(f"UPDATE run SET run_key = '' WHERE run = {_LATEST}")

    def _prepare(self) -> None:
        with _explained(self.path):
            # Before anything is written: a file of somebody else's stays as it is.
            known = _is_journal(self._database, self.path)
            (verdict,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                where = " ".join(verdict.split())
                raise SinkError(self.path, f"the journal is damaged ({where})", _ANEW)
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
            query = f"SELECT stream, run_key FROM run WHERE run = {_LATEST}"
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
        with _explained(self.path), self._database as database:
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


def _empty(path: Path) -> SinkError:
    return SinkError(path, "the journal is empty", "wait until a run has begun")


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


def _connect(uri: str) -> sqlite3.Connection:
    # Made in one thread and used in another, never in two at a time.
    return sqlite3.connect(
        uri, uri=True, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False
    )


def _is_journal(database: sqlite3.Connection, path: Path) -> bool:
    """Tell a journal from a file without anything in it; refuse all others."""
    with _explained(path):
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application == 0 and tables == 0:
        return False
    if application != APPLICATION_ID:
        raise SinkError(path, "a database of another program", "name another file")
    if version != SCHEMA_VERSION:
        raise SinkError(
            path,
            f"journal version {version}, this program knows {SCHEMA_VERSION}",
            "use the newer mlppa, or name another file" if version > SCHEMA_VERSION else _ANEW,
        )
    return True


@contextmanager
def _explained(path: Path) -> Generator[None]:
    """Turn what SQLite reports into cause and remedy; its usage errors are bugs and stay."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None or code & 0xFF not in _TROUBLE:
            raise
        cause, remedy = _TROUBLE[code & 0xFF]
        raise SinkError(path, f"{cause} ({error})", remedy) from error
