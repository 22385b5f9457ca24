"""Where messages and pictures come from: a folder of this machine, or a daemon elsewhere."""

import json
import logging
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, build_opener

from ..config import DaemonConfig
from ..curve import Keys
from ..disk import read_picture
from ..errors import ConfigError, EndpointError, InputError, MlppaError, SinkError
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

#: How often a folder and its journals are looked into.
LOOK_S = 0.25

#: No picture is larger.
MOST_BYTES = 20_000_000

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
    wired: bool = False
    fault: str | None = None


class Followed(Protocol):
    """A source of messages."""

    label: str

    def heard(self) -> Generator[Heard | None]:
        """Give what comes, until `close`; now and then None, where nothing does."""

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
                yield Heard(self.label, fault=fault)
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
            news.append(Heard(self._stream, message, at_s=epoch_s(message.created)))
        return news

    def end(self) -> list[Heard]:
        """Take back what was told: the file is gone."""
        gone = [Heard(self._stream)] if self._next is not None else []
        return [*gone, *self._tell("")]

    def _tell(self, fault: str) -> list[Heard]:
        """Tell a fault when it is news."""
        if fault == self._told:
            return []
        self._told = fault
        return [Heard(str(self._path), fault=fault)]

    def _begin(self, reader: JournalReader) -> Generator[Heard]:
        """Choose where to begin; of a daemon, pulses of long ago are of interest, too."""
        if self._next is not None:
            yield Heard(self._stream)
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
        yield Heard(self._stream, past=tuple(older))


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
    pages
        Its address over HTTP, for pictures: ``http://HOST:PORT``.
    """

    def __init__(
        self,
        endpoint: str,
        replay: str | None = None,
        keys: Keys | None = None,
        pages: str | None = None,
    ) -> None:
        self.label = endpoint
        self._endpoint, self._replay, self._keys, self._pages = endpoint, replay, keys, pages
        self._closed = False

    def heard(self) -> Generator[Heard | None]:
        """Listen."""
        before = None if self._replay is None else -HISTORY
        for message in listen(
            self._endpoint, self._replay, before, None, self._keys, lambda: self._closed
        ):
            yield Heard(message.stream, message, at_s=time.time(), wired=True)

    def picture(self, name: str) -> bytes | None:
        """Ask for a picture, where it has pages."""
        if self._pages is None:
            return None
        with suppress(OSError):
            return fetch(f"{self._pages}/pictures/{quote(name, safe='')}")
        return None

    def close(self) -> None:
        """End."""
        self._closed = True


class Awaited:
    """A source that may not be there yet: it is looked for until it is.

    Parameters
    ----------
    label
        What to call it meanwhile.
    find
        Gives it; what it raises is told, and it is called again.
    """

    def __init__(self, label: str, find: Callable[[], Followed]) -> None:
        self.label = label
        self._find = find
        self._found: Followed | None = None
        self._closed = False

    def heard(self) -> Generator[Heard | None]:
        """Look for it, and follow it."""
        fault = ""
        while self._found is None and not self._closed:
            try:
                self._found = self._find()
            except MlppaError as error:
                if str(error) != fault:
                    fault = str(error)
                    log.warning("%s", fault)
                    yield Heard(self.label, fault=fault)
                yield None
                time.sleep(LOOK_S)
        yield Heard(self.label, fault="")
        if self._found is not None:
            yield from self._found.heard()

    def picture(self, name: str) -> bytes | None:
        """Ask it, once it is there."""
        return None if self._found is None else self._found.picture(name)

    def close(self) -> None:
        """End."""
        self._closed = True
        if self._found is not None:
            self._found.close()


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
        It is none of these. What only is not there yet is waited for.
    """
    if who.startswith(("http://", "https://")):
        if urlsplit(who).hostname is None:
            raise ConfigError(who, "names no host", "give one like http://127.0.0.1:9177")
        return Awaited(who, lambda: _daemon(who.rstrip("/"), keys))
    if "://" in who:
        for address in (who, replay):
            if address is not None and (fault := address_fault(address, bound=False)):
                raise ConfigError(address, fault, ADDRESS_REMEDY)
        return Publisher(who, replay, keys)
    path = Path(who)
    if path.is_file() and path.suffix == ".toml":
        # one that is being edited must not take the page of the others away
        return Awaited(who, lambda: Folder(DaemonConfig.load(path).output))
    if path.is_dir():
        return Folder(path)
    remedy = "name an output folder, a daemon's *.toml, or its http:// or tcp:// address"
    cause = "is neither a folder nor a *.toml" if path.exists() else "is not there"
    raise ConfigError(who, cause, remedy)


def _daemon(pages: str, keys: Keys | None) -> Publisher:
    """Ask a daemon where its messages are.

    Raises
    ------
    EndpointError
        It does not answer, or publishes nothing.
    """
    try:
        about = json.loads(fetch(f"{pages}/about"))
        endpoint, replay = about["detections"], about["replay"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = getattr(error, "reason", error)
        cause = f"no daemon answers ({getattr(why, 'strerror', None) or why})"
        remedy = "start it, or give the address of its life.http"
        raise EndpointError(pages, cause, remedy) from error
    if endpoint is None:
        cause = "it publishes no messages"
        raise EndpointError(pages, cause, "set publish.detections, and restart it")
    host = urlsplit(pages).hostname or "127.0.0.1"
    past = None if replay is None else _from_here(replay, host)
    return Publisher(_from_here(endpoint, host), past, keys, pages)


def _from_here(endpoint: str, host: str) -> str:
    """Give where an address that is bound there can be reached."""
    host = f"[{host}]" if ":" in host else host
    for anywhere in ("//*:", "//0.0.0.0:", "//[::]:", "//127.0.0.1:", "//[::1]:", "//localhost:"):
        endpoint = endpoint.replace(anywhere, f"//{host}:")
    return endpoint


class _NoRedirect(HTTPRedirectHandler):
    """A daemon answers itself; elsewhere it sends nobody."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def fetch(url: str) -> bytes:
    """Get a page of a daemon; no proxy stands between the machines of a telescope.

    Raises
    ------
    OSError
        Where there is none, or one of a size that no picture has.
    """
    opener = build_opener(ProxyHandler({}), _NoRedirect)
    try:
        with opener.open(url, timeout=PATIENCE_S) as answer:
            content: bytes = answer.read(MOST_BYTES + 1)
    except (ValueError, HTTPException) as error:
        raise OSError(f"{url}: {error}") from error
    if len(content) > MOST_BYTES:
        raise OSError(f"{url}: more than {MOST_BYTES} bytes")
    return content
