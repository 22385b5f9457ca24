"""The live page: what streams look at, what they find, and whether they keep up."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from typing import Any

from ..channel import merge
from ..errors import EndpointError
from ..web import Web
from .followed import Followed, follow
from .view import View

__all__ = ["Followed", "View", "follow", "serve", "watch"]

#: How often the page is new, and how many messages may wait for it.
TELL_S, DEPTH = 0.5, 1000

#: Where the page is, unless told.
BIND = "127.0.0.1:8977"


def watch(followed: Sequence[Followed], tell_s: float = TELL_S) -> Generator[dict[str, Any]]:
    """Follow sources, and tell now and then what is to be seen.

    Parameters
    ----------
    followed
        The sources; they are closed at the end.
    tell_s
        How often.

    Yields
    ------
    snapshot
        As `View.snapshot`.
    """
    view = View([one.label for one in followed])
    streams = {str(number): one.heard() for number, one in enumerate(followed)}
    told_s = time.monotonic()
    with ExitStack() as stack:
        heard = stack.enter_context(closing(merge(streams, DEPTH, tell_s, name="watch")))
        for one in followed:
            stack.callback(one.close)
        for item in heard:
            if item is not None:
                source, what = int(item[0]), item[1]
                if what.fault is not None:
                    view.note(what.stream, what.fault)
                elif what.message is not None:
                    view.take(source, what.message, what.at_s)
                elif what.past:
                    view.remember(source, what.past)
                else:
                    view.forget(source, what.stream)
            if time.monotonic() - told_s >= tell_s:
                told_s = time.monotonic()
                yield view.snapshot(time.time())


def serve(
    followed: Sequence[Followed], bind: str, ready: Callable[[str], None] = lambda url: None
) -> None:
    """Serve the page until interrupted.

    Parameters
    ----------
    followed
        What it shows.
    bind
        ``HOST:PORT``; port 0 takes a free one.
    ready
        Is called with the address of the page when it is up.

    Raises
    ------
    EndpointError
        Where the port cannot be had.
    """
    from .site import Site

    site = Site(followed, bind)
    with closing(Web(bind, site)) as web:
        web.keep_open()
        if web.port is None:
            remedy = "end the program that uses it, or give another with --bind HOST:PORT"
            raise EndpointError(bind, f"cannot be bound ({web.fault})", remedy)
        host = web.where[0] or "127.0.0.1"
        ready(f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{web.port}")
        for snapshot in watch(followed):
            site.show(snapshot)
