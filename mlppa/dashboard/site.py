"""What the browser gets: the page, its scripts, what is to be seen now, and pictures."""

import gzip
import ipaddress
import json
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

from ..web import host_port
from .heard import Followed
from .view import View

#: Nothing is loaded from elsewhere, and no script stands in the page itself.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; font-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

#: Streams that browsers have chosen and still look at: so many, asked for in this time.
CHOICES, ASKED_S = 16, 10.0

#: What is larger is sent packed.
PACK_BYTES = 20_000

type Content = tuple[str, bytes]

_HTML, _JSON = "text/html; charset=utf-8", "application/json"
_SCRIPT, _STYLE = "text/javascript; charset=utf-8", "text/css; charset=utf-8"


class Site:
    """A WSGI application that shows the latest snapshot to whoever asks.

    Parameters
    ----------
    followed
        Where pictures are had.
    bind
        Where it is served: on loopback it answers to names of this machine only, so that
        no page of elsewhere can read it by calling itself so.
    """

    def __init__(self, followed: Sequence[Followed], bind: str) -> None:
        self._followed = followed
        self._is_local = is_loopback(host_port(bind)[0])
        self._now: dict[str | None, bytes] = {None: b"{}"}
        self._asked_s: dict[str, float] = {}
        self._pages: dict[str, Callable[[], Content]] = {
            "/": lambda: (_HTML, page_file("index.html")),
            "/page.css": lambda: (_STYLE, page_file("page.css")),
            "/page.js": lambda: (_SCRIPT, page_file("page.js")),
            "/bokeh.js": lambda: (_SCRIPT, bokeh_script()),
            "/figures.json": lambda: (_JSON, figures_json()),
            "/icon.svg": lambda: ("image/svg+xml", page_file("icon.svg")),
        }

    def show(self, view: View, now_s: float) -> None:
        """Give this from now on, from any thread: all, and what browsers have chosen."""
        recent_s = time.monotonic() - ASKED_S
        chosen = [name for name, asked_s in [*self._asked_s.items()] if asked_s > recent_s]
        self._now = {
            name: json.dumps(view.snapshot(now_s, name), allow_nan=False).encode()
            for name in [None, *chosen]
        }

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        path = environ.get("PATH_INFO", "")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start("405 Method Not Allowed", [("Allow", "GET, HEAD")])
            return []
        if self._is_local and not is_loopback(_host(environ)):
            start("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"this page answers to names of this machine only: see --bind\n"]
        headers = [("Content-Security-Policy", POLICY), ("X-Content-Type-Options", "nosniff")]
        if path.startswith("/pictures/"):
            return self._picture(path.removeprefix("/pictures/"), headers, start)
        if path == "/now.json":
            kind, body = _JSON, self._snapshot(environ.get("QUERY_STRING", ""))
        elif path in self._pages:
            kind, body = self._pages[path]()
        else:
            start("404 Not Found", [("Content-Type", "text/plain"), *headers])
            return [b"there is no such page\n"]
        keep = "max-age=3600" if path == "/bokeh.js" else "no-store"
        headers += [("Content-Type", kind), ("Cache-Control", keep)]
        if len(body) > PACK_BYTES and "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
            headers.append(("Content-Encoding", "gzip"))
            body = bokeh_script_packed() if path == "/bokeh.js" else gzip.compress(body, 1)
        start("200 OK", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def _snapshot(self, query: str) -> bytes:
        """Give the snapshot of the stream that is asked for; till it is there, that of all."""
        (name,) = parse_qs(query).get("stream", [""])[:1]
        if name:
            self._asked_s.pop(name, None)
            self._asked_s[name] = time.monotonic()
            while len(self._asked_s) > CHOICES:
                self._asked_s.pop(next(iter(self._asked_s)), None)
        now = self._now
        return now.get(name) or now[None]

    def _picture(
        self, asked: str, headers: list[tuple[str, str]], start: StartResponse
    ) -> Iterable[bytes]:
        """Give a picture; one that is not drawn yet is no error: the page asks again."""
        number, _, name = asked.partition("/")
        known = number.isdecimal() and int(number) < len(self._followed)
        content = self._followed[int(number)].picture(name) if known else None
        if content is None:
            start("204 No Content", [*headers, ("Cache-Control", "no-store")])
            return []
        kept = ("Cache-Control", "max-age=3600")
        start("200 OK", [*headers, ("Content-Type", "image/png"), kept])
        return [content]


def _host(environ: WSGIEnvironment) -> str:
    """Give the name that the browser calls us, without the port."""
    host: str = environ.get("HTTP_HOST", "")
    return host.rpartition(":")[0] if host.rpartition("]")[2].count(":") else host


def is_loopback(host: str) -> bool:
    """Whether a name or an address is that of this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@cache
def page_file(name: str) -> bytes:
    """Read a file of the page."""
    return files(__package__).joinpath("page", name).read_bytes()


@cache
def bokeh_script() -> bytes:
    """Read the script that draws: it comes inside of Bokeh's package."""
    from bokeh.util.paths import bokehjs_path

    return (Path(bokehjs_path()) / "js" / "bokeh.min.js").read_bytes()


@cache
def bokeh_script_packed() -> bytes:
    """Give it compressed: a fifth."""
    return gzip.compress(bokeh_script(), 6)


@cache
def figures_json() -> bytes:
    """Give what Bokeh draws, without data."""
    from bokeh.embed import json_item

    from .figures import figures

    return json.dumps({name: json_item(one) for name, one in figures().items()}).encode()
