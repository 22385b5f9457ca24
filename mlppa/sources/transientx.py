"""Lists of TransientX, followed while it writes them."""

import errno
import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import BinaryIO

from ..data import Listed
from ..errors import ConfigError, InputError
from ..formats.lists import LONGEST_LINE, Flaw, ListReader

log = logging.getLogger(__name__)

SCHEME = "transientx://"

#: So often it is looked for new lines.
POLL_S = 0.25

#: So much of a file is read at a time.
MOST_BYTES = 1 << 22


#: So much of what was read last is looked at again: another file may have taken its place.
TAIL_BYTES = 256


@dataclass(slots=True)
class _Tail:
    """A list that is open, how far it was read, and what it said last."""

    file: BinaryIO
    reader: ListReader
    offset: int = 0
    said: bytes = b""


def open_follower(lists: Sequence[str]) -> "Follower | None":
    """Follow lists that are given as a pattern; None where they are files.

    Raises
    ------
    InputError
        Where other lists are given beside the pattern.
    """
    if not any(name.startswith(SCHEME) for name in lists):
        return None
    if len(lists) > 1:
        remedy = "give one pattern for all, such as transientx:///data/*.cands"
        raise InputError(", ".join(lists), "lists to follow stand alone", remedy)
    return Follower(lists[0])


class Follower:
    """New lines of all files of a pattern, as they are appended.

    A line counts when it is whole. A file that is replaced, or written anew, begins anew; one
    that is gone is read to its end and forgotten.

    Parameters
    ----------
    uri
        ``transientx:///path/prefix*.cands``.

    Raises
    ------
    ConfigError
        Where no pattern is named.
    """

    def __init__(self, uri: str) -> None:
        self.pattern = uri.removeprefix(SCHEME)
        if not Path(self.pattern).name:
            remedy = f"give one such as {SCHEME}/data/*.cands"
            raise ConfigError(uri, "names no lists to follow", remedy)
        self._tails: dict[Path, _Tail] = {}
        self._told: set[Path] = set()
        self._closed = False

    def close(self) -> None:
        """Let `batches` end soon, from any thread or signal handler."""
        self._closed = True

    def batches(self) -> Iterator[list[Listed | Flaw]]:
        """Give what is new each time it is looked for, also if it is nothing."""
        try:
            while not self._closed:
                found = self._look()
                yield found
                if not found:
                    time.sleep(POLL_S)
        finally:
            for tail in self._tails.values():
                tail.file.close()

    def _look(self) -> list[Listed | Flaw]:
        # there may be wildcards in any part of it, and it may begin anywhere
        paths = {Path(name) for name in glob(self.pattern)}  # noqa: PTH207
        found: list[Listed | Flaw] = []
        for path in sorted(paths | self._tails.keys()):
            tail = self._tails.get(path)
            if tail is not None:
                # to its end, also if it has gone or its name was given to another
                found += self._read(path, tail)
                if _is_open(path, tail.file):
                    continue
                found += self._read(path, tail, to_the_end=True)
                self._tails.pop(path).file.close()
            fresh = self._open(path) if path in paths else None
            if fresh is not None:
                self._tails[path] = fresh
                found += self._read(path, fresh)
        return found

    def _open(self, path: Path) -> _Tail | None:
        """Open a list; what cannot be read, or is no file, is told about once."""
        try:
            # a pipe without a writer would be waited for
            number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            if not stat.S_ISREG(os.fstat(number).st_mode):
                os.close(number)
                raise OSError(errno.EINVAL, "is no regular file")
        except OSError as error:
            if path not in self._told and not isinstance(error, FileNotFoundError):
                log.warning("%s: cannot be followed (%s)", path, error.strerror)
                self._told.add(path)
            return None
        self._told.discard(path)
        return _Tail(os.fdopen(number, "rb", buffering=0), ListReader(path))

    def _read(self, path: Path, tail: _Tail, *, to_the_end: bool = False) -> list[Listed | Flaw]:
        """Read the lines that are whole, up to `MOST_BYTES`; at the end of a file the last, too."""
        try:
            tail.file.seek(max(tail.offset - len(tail.said), 0))
            again = tail.file.read(len(tail.said)) or b""
            if again != tail.said:
                log.warning("%s: is another one now; it is read from its beginning", path)
                tail.offset, tail.said, tail.reader = 0, b"", ListReader(path)
                tail.file.seek(0)
            raw = tail.file.read(MOST_BYTES) or b""
        except OSError as error:
            log.warning("%s: cannot be read (%s)", path, error.strerror)
            return []
        whole = raw.rfind(b"\n") + 1
        if to_the_end or (not whole and len(raw) > LONGEST_LINE):
            whole = len(raw)
        tail.offset += whole
        tail.said = (tail.said + raw[:whole])[-TAIL_BYTES:]
        found: list[Listed | Flaw] = []
        lines = raw[:whole].removesuffix(b"\n").split(b"\n") if whole else []
        for line in lines:
            said = tail.reader.read(line.decode("utf-8", "replace"))
            if said is not None:
                found += said if isinstance(said, tuple) else (said,)
        return found


def _is_open(path: Path, file: BinaryIO) -> bool:
    """Whether a name still means the file that is open."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False
