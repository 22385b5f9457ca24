"""A journal as others read it, while its one writer goes on."""

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from ..errors import SinkError
from ..wire import (
    CoverageMessage,
    DetectionMessage,
    InjectionMessage,
    Message,
    decode,
)

#: "mlpp": tells our files from other programs' (PRAGMA application_id).
APPLICATION_ID = 0x6D6C7070
SCHEMA_VERSION = 2

#: How long to wait for another process that holds the file for a moment.
PATIENCE_S = 5.0

#: Of all runs.
LATEST = "(SELECT max(run) FROM run)"

ANEW = "move it away or name another file: a new journal is begun"
_TROUBLE = {
    sqlite3.SQLITE_NOTADB: ("not a journal", ANEW),
    sqlite3.SQLITE_CORRUPT: ("the journal is damaged", ANEW),
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
        with explained(self.path):
            uri = f"{self.path.resolve().as_uri()}?mode=ro"
            self._database = connect(uri)
        try:
            if not is_journal(self._database, self.path):
                raise empty(self.path)
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
        with explained(self.path):
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
        query = f"SELECT min(seq) FROM message WHERE run = {LATEST}"
        with explained(self.path):
            (seq,) = self._database.execute(query).fetchone()
        return self.next_seq if seq is None else int(seq)

    @property
    def is_of_a_daemon(self) -> bool:
        """Whether it holds the health of a stream: what searches files tells none."""
        query = "SELECT EXISTS (SELECT 1 FROM message WHERE kind = 'health')"
        with explained(self.path):
            (there,) = self._database.execute(query).fetchone()
        return bool(there)

    def since(self, seq: int, limit: int) -> list[tuple[int, bytes]]:
        """Give numbers and bytes of the first ``limit`` published messages from ``seq`` on."""
        query = "SELECT seq, body FROM message WHERE stream = ? AND seq >= ? ORDER BY seq LIMIT ?"
        with explained(self.path):
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
        with explained(self.path):
            row = self._database.execute(query, (self.stream,)).fetchone()
        message = decode(row[0]) if row else None
        return message if isinstance(message, CoverageMessage) else None

    def latest(self, count: int, kinds: Sequence[str] = ("pulse", "rfi")) -> list[DetectionMessage]:
        """Give the latest classified candidates, in all runs of the stream; the last first."""
        marks = ", ".join("?" * len(kinds))
        query = f"""SELECT body FROM message WHERE stream = ? AND kind IN ({marks})
            ORDER BY rowid DESC LIMIT ?"""
        with explained(self.path):
            rows = self._database.execute(query, (self.stream, *kinds, count)).fetchall()
        messages = (decode(body) for (body,) in rows)
        return [one for one in messages if isinstance(one, DetectionMessage)]

    def injections(self) -> Iterator[InjectionMessage]:
        """Give what became of synthetic pulses, in all runs, by number."""
        query = "SELECT body FROM message WHERE kind = 'injection' ORDER BY seq"
        with explained(self.path):
            for (body,) in self._database.execute(query):
                message = decode(body)
                assert isinstance(message, InjectionMessage)
                yield message

    def _detections(self, where: str) -> Iterator[DetectionMessage]:
        for message in self._messages(f"{where} ORDER BY mjd, id"):
            if isinstance(message, DetectionMessage):
                yield message

    def _messages(self, where: str) -> Iterator[Message]:
        query = f"SELECT body FROM message WHERE run = {LATEST} AND {where}"
        with explained(self.path):
            for (body,) in self._database.execute(query):
                yield decode(body)

    def _of_run(self, column: str) -> Any:
        query = f"SELECT {column} FROM run WHERE run = {LATEST}"
        with explained(self.path):
            row = self._database.execute(query).fetchone()
        if row is None:  # its tables are there, but its writer has only begun
            raise empty(self.path)
        return row[0]


def empty(path: Path) -> SinkError:
    """Say that a journal has no run yet."""
    return SinkError(path, "the journal is empty", "wait until a run has begun")


def connect(uri: str) -> sqlite3.Connection:
    """Open a database that one thread makes and another uses, never two at a time."""
    return sqlite3.connect(
        uri, uri=True, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False
    )


def is_journal(database: sqlite3.Connection, path: Path) -> bool:
    """Tell a journal from a file without anything in it; refuse all others."""
    with explained(path):
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
            "use the newer mlppa, or name another file" if version > SCHEMA_VERSION else ANEW,
        )
    return True


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Turn what SQLite reports into cause and remedy; its usage errors are bugs and stay."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None or code & 0xFF not in _TROUBLE:
            raise
        cause, remedy = _TROUBLE[code & 0xFF]
        raise SinkError(path, f"{cause} ({error})", remedy) from error
