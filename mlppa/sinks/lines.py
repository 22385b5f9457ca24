"""Messages as lines of a file, one JSON object each, for whatever reads lines."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from math import inf
from pathlib import Path

from ..disk import obstacle
from ..errors import InputError, SinkError
from ..wire import DetectionMessage, Message, decode, encode, topic
from .lock import lock
from .uris import Options

logger = logging.getLogger(__name__)

#: Kinds of messages, as the topics of the wire begin.
KINDS = ("det", "inj", "cov", "health")

#: How much of the end of a file is looked at for what it holds already.
TAIL_BYTES = 1 << 20


def open_lines(uri: str) -> "LinesSink":
    """Open ``jsonl:PATH?what=det,cov&keep_days=30&most_bytes=1000000000``.

    Raises
    ------
    ConfigError
        An option is wrong.
    SinkError
        The file cannot be written, or another process writes to it.
    """
    options = Options(uri)
    what = tuple((options.text("what") or "det").split(","))
    if not set(what) <= set(KINDS):
        raise options.fault("what", f"takes some of {','.join(KINDS)}")
    keep_days, most_bytes = options.number("keep_days", most=36500), options.number("most_bytes")
    options.end()
    return LinesSink(Path(options.path), what, keep_days, most_bytes)


class LinesSink:
    """Appends messages to a file, each on the disk when `send` returns.

    The file holds one day (UTC, by ``created``); then it is renamed to PATH-YYYYMMDD. A
    line that a kill cut short is cut off at the next start: its message comes again. One
    that comes again and is there already is not written twice.

    Parameters
    ----------
    path
        The file of today.
    what
        Kinds to write, of `KINDS`.
    keep_days
        Files of days before so many are removed; None keeps them all.
    most_bytes
        The oldest files are removed while all take more; that of today stays.

    Raises
    ------
    SinkError
        The file cannot be written, or another process writes to it.
    """

    name = "jsonl"

    def __init__(
        self,
        path: Path,
        what: tuple[str, ...] = ("det",),
        keep_days: float | None = None,
        most_bytes: float | None = None,
    ) -> None:
        self.path = path
        self._what = what
        self._keep_days, self._most_bytes = keep_days, most_bytes
        self._seen: dict[str, tuple[str, int]] = {}
        self._day = ""
        self._room_bytes = inf
        self._fd = -1
        if path.is_dir():
            raise SinkError(path, "is a folder", "name a file in it")
        self._lock = lock(path, "file")
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def send(self, message: Message) -> None:
        """Append one message, unless it is there already."""
        key = message.created, message.seq or 0
        wanted = topic(message).partition(b".")[0].decode() in self._what
        # Numbers alone do not tell: those of a journal that is begun anew begin at 1.
        if not wanted or _both_up_to(key, self._seen.get(message.stream)):
            return
        try:
            if message.created[:10] > self._day or not self._is_there():
                self._turn_over(message.created[:10])
            line = encode(message) + b"\n"
            self._append(line, sync=isinstance(message, DetectionMessage))
            self._room_bytes -= len(line)
            if self._room_bytes < 0:
                self._prune()
        except OSError as error:
            self._let_go()
            raise SinkError(self.path, *obstacle(self.path, error)) from error
        self._note(message)

    def close(self) -> None:
        """Close the file and let another writer have it."""
        self._let_go()
        self._lock.close()

    def _begin(self) -> None:
        try:
            self._open()
            for path in [*self._rotated()[-1:], self.path]:
                for message in _last_messages(path):
                    self._note(message)
                    self._day = max(self._day, message.created[:10])
            self._prune()
        except OSError as error:
            raise SinkError(self.path, *obstacle(self.path, error)) from error

    def _note(self, message: Message) -> None:
        created, seq = self._seen.get(message.stream, ("", 0))
        self._seen[message.stream] = max(created, message.created), max(seq, message.seq or 0)

    def _let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _open(self) -> None:
        """Open the file, and cut off what a failure left of a line."""
        self._let_go()
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        size = os.fstat(self._fd).st_size
        whole = _whole_bytes(self._fd, size)
        if whole < size:
            os.ftruncate(self._fd, whole)
            logger.warning("%s: a line of %d bytes was cut short", self.path, size - whole)

    def _is_there(self) -> bool:
        """Whether a file is open and still has its name: somebody may have moved it."""
        if self._fd < 0:
            return False
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def _append(self, line: bytes, *, sync: bool) -> None:
        before = os.fstat(self._fd).st_size
        try:
            done = 0
            while done < len(line):
                done += os.write(self._fd, line[done:])
            if sync:
                os.fsync(self._fd)
        except OSError:
            # so that the next line does not continue half a one
            with suppress(OSError):
                os.ftruncate(self._fd, before)
            raise

    def _turn_over(self, day: str) -> None:
        """Give the file the name of its day, and begin one of another day."""
        if not self._is_there():
            self._open()
        if self._day and self._day < day and os.fstat(self._fd).st_size:
            self.path.rename(_free(self.path, self._day))
            self._open()
        self._day = max(self._day, day)
        self._prune()

    def _prune(self) -> None:
        """Remove the oldest files that are too old or too much."""
        rotated = [(path, path.stat().st_size) for path in self._rotated()]
        total = self.path.stat().st_size + sum(size for _, size in rotated)
        oldest = ""
        if self._keep_days is not None and self._day:
            oldest = f"{date.fromisoformat(self._day) - timedelta(self._keep_days):%Y%m%d}"
        for path, size in rotated:
            if _day_of(self.path, path) >= oldest and total <= (self._most_bytes or total):
                break
            total -= size
            try:
                path.unlink(missing_ok=True)
            except OSError as error:  # the message at hand can be written all the same
                logger.warning("%s: cannot be removed (%s)", path, error.strerror)
        self._room_bytes = (self._most_bytes or inf) - total

    def _rotated(self) -> list[Path]:
        """Files of past days, the oldest first."""
        there = [p for p in self.path.parent.iterdir() if _day_of(self.path, p)]
        return sorted(there, key=lambda p: (_day_of(self.path, p), len(p.name), p.name))


def _day_of(path: Path, rotated: Path) -> str:
    """Day of a file of past days as YYYYMMDD; nothing for another file."""
    found = re.fullmatch(re.escape(path.name) + r"-(\d{8})(\.\d+)?", rotated.name)
    return found[1] if found else ""


def _free(path: Path, day: str) -> Path:
    """Name for the file of a day that no other file has."""
    name = f"{path.name}-{day.replace('-', '')}"
    number = 0
    while (free := path.with_name(f"{name}.{number}" if number else name)).exists():
        number += 1
    return free


def _both_up_to(key: tuple[str, int], last: tuple[str, int] | None) -> bool:
    return last is not None and key[0] <= last[0] and key[1] <= last[1]


def _whole_bytes(fd: int, size: int) -> int:
    """Length of a file up to the end of its last whole line."""
    stop = size
    while stop:
        start = max(0, stop - TAIL_BYTES)
        newline = os.pread(fd, stop - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        stop = start
    return 0


def _last_messages(path: Path) -> Iterator[Message]:
    """Give the messages at the end of a file; what is none is passed over."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        lines = file.read().split(b"\n")
    for line in lines if size <= TAIL_BYTES else lines[1:]:
        with suppress(InputError):
            yield decode(line)
