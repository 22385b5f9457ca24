"""Lists of TransientX, followed while it writes them."""

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import BinaryIO

from ..data import Listed
from ..errors import ConfigError
from ..formats.lists import LONGEST_LINE, Flaw, ListReader

log = logging.getLogger(__name__)

SCHEME = "transientx://"

#: So often it is looked for new lines.
POLL_S = 0.25

#: So much of a file is read at a time.
MOST_BYTES = 1 << 22


@dataclass(slots=True)
class _Tail:
    """A list, and how far it was read; ``file_id`` changes when another takes its name."""

    file_id: tuple[int, int]
    reader: ListReader
    offset: int = 0


class Follower:
    """New lines of all files of a pattern, as they are appended.

    A line counts when it is whole. A file that is replaced, or has become shorter, begins
    anew; one that is gone is forgotten.

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
        self._closed = False

    def close(self) -> None:
        """Let `batches` end soon, from any thread or signal handler."""
        self._closed = True

    def batches(self) -> Iterator[list[Listed | Flaw]]:
        """Give what is new each time it is looked for, also if it is nothing."""
        while not self._closed:
            found = self._look()
            yield found
            if not found:
                time.sleep(POLL_S)

    def _look(self) -> list[Listed | Flaw]:
        # there may be wildcards in any part of it, and it may begin anywhere
        paths = [Path(name) for name in sorted(glob(self.pattern))]  # noqa: PTH207
        self._tails = {path: tail for path, tail in self._tails.items() if path in paths}
        found: list[Listed | Flaw] = []
        for path in paths:
            try:
                with path.open("rb") as file:
                    found += self._read(path, file)
            except OSError as error:  # gone between two looks, or not yet to be read
                log.debug("%s: %s", path, error)
        return found

    def _read(self, path: Path, file: BinaryIO) -> list[Listed | Flaw]:
        state = os.fstat(file.fileno())
        file_id = state.st_dev, state.st_ino
        tail = self._tails.get(path)
        if tail is None or tail.file_id != file_id or state.st_size < tail.offset:
            if tail is not None:
                log.warning("%s: has begun anew", path)
            tail = self._tails[path] = _Tail(file_id, ListReader(path))
        file.seek(tail.offset)
        raw = file.read(MOST_BYTES)
        whole = raw.rfind(b"\n") + 1
        if not whole and len(raw) > LONGEST_LINE:
            whole = len(raw)
        tail.offset += whole
        found: list[Listed | Flaw] = []
        for line in raw[:whole].splitlines():
            said = tail.reader.read(line.decode("utf-8", "replace"))
            if said is not None:
                found += said if isinstance(said, tuple) else (said,)
        return found
