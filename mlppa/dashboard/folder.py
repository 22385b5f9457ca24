"""The output folder of a daemon or a search on this machine, followed as it grows."""

import logging
import time
from collections.abc import Generator
from pathlib import Path

from ..disk import read_picture
from ..errors import InputError, SinkError
from ..sinks.reader import JournalReader
from ..wire import decode
from .heard import HISTORY, Anew, Fault, Heard, Remembered, Said
from .watched import epoch_s

log = logging.getLogger(__name__)

#: Pulses of before, however long ago.
PULSES = 50

#: How often a folder and its journals are looked into.
LOOK_S = 0.25

#: A journal that is just being made has a while for it.
PATIENCE_S = 5.0


class Folder:
    """The output folder of a daemon or a search: its journals, as they grow.

    Parameters
    ----------
    path
        Holds ``*.sqlite`` and pictures; both may come later.
    """

    def __init__(self, path: Path) -> None:
        self.label = str(path)
        self._path = path
        self._closed = False

    def heard(self) -> Generator[Heard | None]:
        """Look into the journals again and again; None where there was nothing new."""
        following: dict[Path, _Tail] = {}
        fault = ""
        while not self._closed:
            why = self.fault()
            if why != fault:
                fault = why
                yield Fault(self.label, fault)
            for path in sorted(self._path.glob("*.sqlite")):
                following.setdefault(path, _Tail(path))
            for path, tail in [*following.items()]:
                if path.exists():
                    yield from tail.news()
                else:
                    yield from tail.end()
                    del following[path]
            yield None
            time.sleep(LOOK_S)

    def fault(self) -> str:
        """Say why there can be no news, if that is so."""
        return "" if self._path.is_dir() else f"{self._path}: there is no such folder"

    def picture(self, name: str) -> bytes | None:
        """Read a picture."""
        try:
            return read_picture(self._path, name)
        except OSError:
            return None

    def close(self) -> None:
        """End."""
        self._closed = True


class _Tail:
    """The end of one journal. Another file of its name is read from its beginning.

    Of the journal of a search the latest run is read, as in its results: runs before it were
    of the same sky, or of another.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next: int | None = None
        self._known = (0, 0)
        self._stream = ""
        self._well_s = time.monotonic()
        self._told = ""

    def news(self) -> list[Heard]:
        """Give what was journalled since the last look, or why that cannot be read.

        A journal may be just being made: it has a while for that.
        """
        try:
            inode = self._path.stat().st_ino
            # closed again at once: what it reads may be removed, and made anew
            with JournalReader(self._path) as reader:
                news: list[Heard] = []
                known = inode, 0 if reader.is_of_a_daemon else reader.run
                if known != self._known or reader.next_seq < (self._next or 0):
                    news += self._begin(reader)
                rows = reader.since(self._next or 1, HISTORY)
        except (SinkError, OSError) as error:
            if time.monotonic() - self._well_s < PATIENCE_S:
                return []
            return self._tell(str(error))
        self._known, self._well_s = known, time.monotonic()
        news += self._tell("")
        for seq, body in rows:
            self._next = seq + 1
            try:
                message = decode(body)
            except InputError as error:
                # of a newer version: the others are shown
                log.warning("%s: message %d is left out: %s", self._path, seq, error)
                continue
            news.append(Said(message, epoch_s(message.created)))
        return news

    def end(self) -> list[Heard]:
        """Take back what was told: the file is gone."""
        gone = [Anew(self._stream)] if self._next is not None else []
        return [*gone, *self._tell("")]

    def _tell(self, fault: str) -> list[Heard]:
        """Tell a fault when it is news."""
        if fault == self._told:
            return []
        self._told = fault
        return [Fault(str(self._path), fault)]

    def _begin(self, reader: JournalReader) -> Generator[Heard]:
        """Choose where to begin; of a daemon, pulses of long ago are of interest, too."""
        if self._next is not None:
            yield Anew(self._stream)
        self._stream = reader.stream
        self._next = max(reader.next_seq - HISTORY, 1)
        if not reader.is_of_a_daemon:
            self._next = max(self._next, reader.first_of_run)
            return
        try:
            past = reader.latest(PULSES, ("pulse",))
        except InputError as error:
            log.warning("%s: pulses of before are left out: %s", self._path, error)
            return
        # what is read below comes there
        older = [one for one in reversed(past) if (one.seq or 0) < self._next]
        if older:
            yield Remembered(tuple(older))
