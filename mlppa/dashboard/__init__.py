"""The live page: what streams look at, what they find, and whether they keep up."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing

from ..channel import merge
from ..errors import EndpointError
from ..web import Web
from .followed import follow
from .heard import Anew, Fault, Followed, Heard, Remembered, Said
from .view import View

__all__ = ["BIND", "Followed", "View", "follow", "serve", "watch"]

#: Where the page is, unless told.
BIND = "127.0.0.1:8977"

#: How often the page is new, and how many messages may wait for it.
TELL_S, DEPTH = 0.5, 1000


def watch(followed: Sequence[Followed], tell_s: float = TELL_S) -> Generator[View]:
    """Follow sources, and give now and then what is known of them.

    Parameters
    ----------
    followed
        The sources. Close them to end at once: each may be in the middle of a look.
    tell_s
        How often.

    Yields
    ------
    view
        The same one every time.
    """
    view = View([one.label for one in followed], time.time())
    streams = {f"{number} {one.label}": one.heard() for number, one in enumerate(followed)}
    told_s = time.monotonic()
    with closing(merge(streams, DEPTH, tell_s, name="watch")) as heard:
        for item in heard:
            if item is not None and item[1] is not None:
                _learn(view, int(item[0].split()[0]), item[1])
            if time.monotonic() - told_s >= tell_s:
                told_s = time.monotonic()
                yield view


def _learn(view: View, source: int, heard: Heard) -> None:
    match heard:
        case Said(message, at_s, wired):
            view.take(source, message, at_s, wired=wired)
        case Remembered(pulses):
            view.remember(source, pulses)
        case Anew(stream):
            view.forget(source, stream)
        case Fault(thing, why):
            view.note(thing, why)


def serve(
    followed: Sequence[Followed], bind: str, ready: Callable[[str], None] = lambda url: None
) -> None:
    """Serve the page until the sources end, or an interrupt.

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
            remedy = "end the program that uses it, or give another address of this machine"
            raise EndpointError(bind, f"cannot be bound ({web.fault})", remedy)
        ready(web.url)
        for view in watch(followed):
            site.show(view, time.time())
