"""``/metrics``, ``/healthz``, ``/readyz`` and pictures: given when asked."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import make_wsgi_app

from ..disk import read_picture

log = logging.getLogger(__name__)

#: What is asked of whom: a verdict and what to say.
type Answer = Callable[[], tuple[bool, dict[str, Any]]]

#: Pictures of detections lie below this.
PICTURES = "/pictures/"

#: A port that is taken is tried again after so long.
RETRY_S = 10.0


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say little of who went away in the middle."""
        log.debug("a request of %s came to nothing", client_address, exc_info=True)


class _Quiet(WSGIRequestHandler):
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


class Pages:
    """Serves the pages from a thread of its own; a port that is taken is tried again.

    Parameters
    ----------
    address
        ``HOST:PORT``.
    answers
        What to ask for ``/healthz`` and ``/readyz``: a verdict, and what to say.
    folder
        Holds the pictures of detections, for ``/pictures/NAME``.
    """

    def __init__(self, address: str, answers: dict[str, Answer], folder: Path) -> None:
        host, _, port = address.rpartition(":")
        self._where = host.strip("[]"), int(port)
        self._answers = answers
        self._folder = folder
        self._metrics = make_wsgi_app()
        self._server: WSGIServer | None = None
        self._tried_s = float("-inf")
        self.fault: str | None = None
        self.keep_open()

    @property
    def port(self) -> int | None:
        """The port that it listens on; None while it does not."""
        return None if self._server is None else self._server.server_port

    def keep_open(self) -> None:
        """Begin to listen, if that has not been possible so far."""
        now_s = time.monotonic()
        if self._server is not None or now_s - self._tried_s < RETRY_S:
            return
        self._tried_s = now_s
        try:
            server = make_server(*self._where, self._answer, _Server, _Quiet)
        except OSError as error:
            if self.fault is None:
                log.error(
                    "%s:%d: no metrics and no health here (%s); end the program that uses the "
                    "port, or set life.http",
                    *self._where,
                    error.strerror,
                )
            self.fault = str(error.strerror)
            return
        if self.fault is not None:
            log.warning("%s:%d: metrics and health are here again", *self._where)
            self.fault = None
        self._server = server
        threading.Thread(target=server.serve_forever, name="http", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

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
            return [b"/metrics, /healthz, /readyz or /pictures/NAME\n"]
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
