"""``/metrics``, ``/healthz``, ``/readyz``, ``/about`` and pictures: given when asked."""

import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import make_wsgi_app

from ..disk import read_picture
from ..web import Web

log = logging.getLogger(__name__)

#: What is asked of whom: a verdict and what to say.
type Answer = Callable[[], tuple[bool, dict[str, Any]]]

#: Pictures of detections lie below this.
PICTURES = "/pictures/"


class Pages:
    """The daemon's pages; a port that is taken is tried again, and no reason to end.

    Parameters
    ----------
    address
        ``HOST:PORT``.
    answers
        What to ask for ``/healthz`` and the like: a verdict, and what to say.
    folder
        Holds the pictures of detections, for ``/pictures/NAME``.
    """

    def __init__(self, address: str, answers: dict[str, Answer], folder: Path) -> None:
        self._answers = answers
        self._folder = folder
        self._metrics = make_wsgi_app()
        self._web = Web(address, self._answer)
        self.keep_open()

    @property
    def port(self) -> int | None:
        """The port that it listens on; None while it does not."""
        return self._web.port

    def keep_open(self) -> None:
        """Begin to listen, if that has not been possible so far."""
        if not self._web.keep_open():
            return
        host, port = self._web.where
        if self._web.fault is None:
            log.warning("%s:%d: metrics and health are here again", host, port)
        else:
            log.error(
                "%s:%d: no metrics and no health here (%s); end the program that uses the "
                "port, or set life.http",
                *(host, port, self._web.fault),
            )

    def close(self) -> None:
        """Stop listening."""
        self._web.close()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            page: Iterable[bytes] = self._metrics(environ, start)
            return page
        if path.startswith(PICTURES):
            return self._show(path.removeprefix(PICTURES), start)
        answer = self._answers.get(path)
        if answer is None:
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [f"/metrics, {', '.join(self._answers)} or {PICTURES}NAME\n".encode()]
        good, said = answer()
        status = "200 OK" if good else "503 Service Unavailable"
        start(status, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
        return [json.dumps(said).encode() + b"\n"]

    def _show(self, name: str, start: StartResponse) -> Iterable[bytes]:
        """Give a picture of a detection, and nothing else of the folder."""
        try:
            content = read_picture(self._folder, name)
        except OSError:
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"there is no such picture\n"]
        start("200 OK", [("Content-Type", "image/png")])
        return [content]
