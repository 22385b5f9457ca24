"""A daemon elsewhere: its messages over ZeroMQ, its pictures over HTTP."""

import json
import time
from collections.abc import Generator
from contextlib import suppress
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, build_opener

from ..curve import Keys
from ..errors import EndpointError
from ..listen import listen
from .heard import HISTORY, Heard, Said

#: No picture is larger.
MOST_BYTES = 20_000_000

#: An answer over HTTP is waited for so long.
PATIENCE_S = 5.0


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
            yield Said(message, time.time(), wired=True)

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


def find_daemon(pages: str, keys: Keys | None) -> Publisher:
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
