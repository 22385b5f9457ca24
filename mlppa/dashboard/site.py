"""What the browser gets: the page, its scripts, what is to be seen now, and pictures."""

import gzip
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from wsgiref.types import StartResponse, WSGIEnvironment

from .followed import Followed

#: Nothing is loaded from elsewhere, and no script stands in the page itself.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; font-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

#: Names by which a page that binds to this machine alone may be called.
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

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
        self._is_local = bind.rpartition(":")[0] in LOOPBACK
        self._now = b"{}"
        self._pages: dict[str, Callable[[], Content]] = {
            "/": lambda: (_HTML, page_file("index.html")),
            "/page.css": lambda: (_STYLE, page_file("page.css")),
            "/page.js": lambda: (_SCRIPT, page_file("page.js")),
            "/bokeh.js": lambda: (_SCRIPT, bokeh_script()),
            "/figures.json": lambda: (_JSON, figures_json()),
            "/now.json": lambda: (_JSON, self._now),
            "/icon.svg": lambda: ("image/svg+xml", page_file("icon.svg")),
        }

    def show(self, snapshot: dict[str, Any]) -> None:
        """Give this from now on, from any thread."""
        self._now = json.dumps(snapshot, allow_nan=False).encode()

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        path = unquote(environ.get("PATH_INFO", ""))
        host = environ.get("HTTP_HOST", "").rpartition(":")[0] or environ.get("HTTP_HOST", "")
        if self._is_local and host not in LOOPBACK:
            start("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"this page answers to 127.0.0.1 and localhost only: see --bind\n"]
        headers = [("Content-Security-Policy", POLICY), ("X-Content-Type-Options", "nosniff")]
        if path.startswith("/pictures/"):
            return self._show(path.removeprefix("/pictures/"), headers, start)
        give = self._pages.get(path)
        if give is None:
            start("404 Not Found", [("Content-Type", "text/plain"), *headers])
            return [b"there is no such page\n"]
        kind, body = give()
        keep = "max-age=3600" if path == "/bokeh.js" else "no-store"
        headers += [("Content-Type", kind), ("Cache-Control", keep)]
        if path == "/bokeh.js" and "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
            headers.append(("Content-Encoding", "gzip"))
            body = bokeh_script_packed()
        start("200 OK", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def _show(
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
