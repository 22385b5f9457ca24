"""Where messages and pictures come from: a folder of this machine, or a daemon elsewhere."""

import json
import logging
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.error import URLError
from urllib.parse import quote, urlsplit
from urllib.request import ProxyHandler, build_opener

from ..config import DaemonConfig
from ..curve import Keys
from ..disk import read_picture
from ..errors import ConfigError, EndpointError, InputError, SinkError
from ..listen import listen
from ..sinks.journal import JournalReader
from ..wire import DetectionMessage, Message, decode
from ..wire.address import ADDRESS_REMEDY, address_fault
from .watched import epoch_s

log = logging.getLogger(__name__)

#: Messages of before that are shown, and the most that are read at a time.
HISTORY = 3000

#: Pulses of before, however long ago.
PULSES = 50

#: How often a journal is looked into, and a folder for journals.
LOOK_S, FOLDER_S = 0.25, 2.0

#: An answer over HTTP is waited for so long.
PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What a source gives: a message, pulses of long ago, or a stream that begins anew.

    Or a ``fault``, why something of it cannot be read; it is empty when that is over. ``at_s``
    is when the message came, in seconds since 1970 by the clock of this machine.
    """

    stream: str
    message: Message | None = None
    past: tuple[DetectionMessage, ...] = ()
    at_s: float = 0.0
    fault: str | None = None


class Followed(Protocol):
    """A source of messages."""

    label: str

    def heard(self) -> Generator[Heard]:
        """Give what comes, until `close`."""

    def picture(self, name: str) -> bytes | None:
        """Give a picture of a detection; None where there is none, or not yet."""

    def close(self) -> None:
        """Let `heard` end soon, from any thread."""


class Folder:
    """The output folder of a daemon or a search: its journals, as they grow.

    Parameters
    ----------
    path
        Holds ``*.sqlite`` and pictures; both may come later.
    """

    def __init__(self, path: Path) -> None:
        self.label = path.name or str(path)
        self._path = path
        self._closed = False

    def heard(self) -> Generator[Heard]:
        """Look into the journals again and again."""
        following: dict[Path, _Tail] = {}
        looked_s = float("-inf")
        while not self._closed:
            if time.monotonic() - looked_s > FOLDER_S:
                looked_s = time.monotonic()
                for path in sorted(self._path.glob("*.sqlite")):
                    following.setdefault(path, _Tail(path))
            for tail in following.values():
                yield from tail.news()
            time.sleep(LOOK_S)

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
    """The end of one journal. Another file of its name is read from its beginning."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next: int | None = None
        self._inode = 0
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
                if inode != self._inode or reader.next_seq < (self._next or 0):
                    news += self._begin(reader)
                rows = reader.since(self._next or 1, HISTORY)
        except (SinkError, OSError) as error:
            if time.monotonic() - self._well_s < PATIENCE_S:
                return []
            return self._tell(str(error))
        self._inode, self._well_s = inode, time.monotonic()
        news += self._tell("")
        for seq, body in rows:
            self._next = seq + 1
            try:
                message = decode(body)
            except InputError as error:
                # of a newer version: the others are shown
                log.warning("%s: message %d is left out: %s", self._path, seq, error)
                continue
            news.append(Heard(self._stream, message, at_s=epoch_s(message.created)))
        return news

    def _tell(self, fault: str) -> list[Heard]:
        """Tell a fault when it is news."""
        if fault == self._told:
            return []
        self._told = fault
        return [Heard(str(self._path), fault=fault)]

    def _begin(self, reader: JournalReader) -> Generator[Heard]:
        if self._next is not None:
            yield Heard(self._stream)
        self._stream = reader.stream
        self._next = max(reader.next_seq - HISTORY, 1)
        past = reader.latest(PULSES, ("pulse",))
        yield Heard(self._stream, past=tuple(reversed(past)))


class Publisher:
    """A publisher of messages, heard over ZeroMQ; it need not be there yet.

    Parameters
    ----------
    endpoint
        Address of its messages.
    replay
        Address of those of before.
    keys
        Where it asks for them.
    """

    def __init__(self, endpoint: str, replay: str | None = None, keys: Keys | None = None) -> None:
        self.label = endpoint
        self._endpoint, self._replay, self._keys = endpoint, replay, keys
        self._closed = False

    def heard(self) -> Generator[Heard]:
        """Listen."""
        before = None if self._replay is None else -HISTORY
        for message in listen(
            self._endpoint, self._replay, before, None, self._keys, lambda: self._closed
        ):
            yield Heard(message.stream, message, at_s=time.time())

    def picture(self, name: str) -> bytes | None:
        """Give none: it sends messages only."""
        return None

    def close(self) -> None:
        """End."""
        self._closed = True


class Daemon:
    """A daemon, here or elsewhere, that says itself where its messages and pictures are.

    Parameters
    ----------
    pages
        Its address over HTTP, ``http://HOST:PORT``; it is asked until it answers.
    keys
        Where it asks for them.
    """

    def __init__(self, pages: str, keys: Keys | None = None) -> None:
        self.label = pages
        self._pages, self._keys = pages, keys
        self._publisher: Publisher | None = None
        self._closed = False

    def heard(self) -> Generator[Heard]:
        """Find out where it publishes, and listen there."""
        fault = ""
        while self._publisher is None and not self._closed:
            try:
                self._publisher = self._find()
            except EndpointError as error:
                if str(error) != fault:
                    fault = str(error)
                    log.warning("%s", fault)
                    yield Heard(self.label, fault=fault)
                time.sleep(LOOK_S)
        yield Heard(self.label, fault="")
        if self._publisher is not None:
            yield from self._publisher.heard()

    def picture(self, name: str) -> bytes | None:
        """Ask it for a picture."""
        with suppress(OSError):
            return fetch(f"{self._pages}/pictures/{quote(name, safe='')}")
        return None

    def close(self) -> None:
        """End."""
        self._closed = True
        if self._publisher is not None:
            self._publisher.close()

    def _find(self) -> Publisher:
        """Ask it where its messages are."""
        try:
            about = json.loads(fetch(f"{self._pages}/about"))
            endpoint, replay = about["detections"], about["replay"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = getattr(error, "reason", error)
            cause = f"no daemon answers ({getattr(why, 'strerror', None) or why})"
            remedy = "start it, or give the address of its life.http"
            raise EndpointError(self._pages, cause, remedy) from error
        if endpoint is None:
            cause = "it publishes no messages"
            raise EndpointError(self._pages, cause, "set publish.detections, and restart it")
        host = urlsplit(self._pages).hostname or "127.0.0.1"
        past = None if replay is None else _from_here(replay, host)
        return Publisher(_from_here(endpoint, host), past, self._keys)


def follow(who: str, keys: Keys | None = None, replay: str | None = None) -> Followed:
    """Follow what a person names.

    Parameters
    ----------
    who
        An output folder; the configuration of a daemon on this machine; ``http://HOST:PORT``
        of a daemon; or the ZeroMQ address of a publisher.
    keys, replay
        For what is followed over ZeroMQ; a daemon tells its replay address by itself.

    Raises
    ------
    ConfigError
        It is none of these.
    """
    if who.startswith(("http://", "https://")):
        if urlsplit(who).hostname is None:
            raise ConfigError(who, "names no host", "give one like http://127.0.0.1:9177")
        return Daemon(who.rstrip("/"), keys)
    if "://" in who:
        if fault := address_fault(who, bound=False):
            raise ConfigError(who, fault, ADDRESS_REMEDY)
        return Publisher(who, replay, keys)
    path = Path(who)
    if path.is_file():
        return Folder(DaemonConfig.load(path).output)
    if path.is_dir():
        return Folder(path)
    remedy = "name an output folder, a daemon's configuration, or its http:// or tcp:// address"
    raise ConfigError(who, "is not there", remedy)


def _from_here(endpoint: str, host: str) -> str:
    """Give where an address that is bound there can be reached."""
    for anywhere in ("//*:", "//0.0.0.0:", "//[::]:", "//127.0.0.1:", "//localhost:"):
        endpoint = endpoint.replace(anywhere, f"//{host}:")
    return endpoint


def fetch(url: str) -> bytes:
    """Get a page of a daemon; no proxy stands between the machines of a telescope.

    Raises
    ------
    OSError
        Where there is none.
    """
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=PATIENCE_S) as answer:
            content: bytes = answer.read()
            return content
    except URLError:
        raise
    except ValueError as error:
        raise OSError(f"{url} is no address") from error
