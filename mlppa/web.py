"""Pages over HTTP from a thread of its own: a WSGI application, and nothing more."""

import logging
import socket
import threading
import time
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import WSGIApplication

log = logging.getLogger(__name__)

#: A port that is taken is tried again after so long.
RETRY_S = 10.0


def host_port(address: str) -> tuple[str, int]:
    """Split ``HOST:PORT``.

    Raises
    ------
    ValueError
        It is not of that form.
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 65536):
        raise ValueError(f"{address!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say little of who went away in the middle."""
        log.debug("a request of %s came to nothing", client_address, exc_info=True)

    def server_bind(self) -> None:
        """Bind, without asking a name server who we are: it may be far away, or not there."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)

    def address_string(self) -> str:
        return str(self.client_address[0])


class Web:
    """Serves an application.

    Parameters
    ----------
    address
        ``HOST:PORT``.
    application
        What answers.
    """

    def __init__(self, address: str, application: WSGIApplication) -> None:
        self.where = host_port(address)
        self._application = application
        self._server: WSGIServer | None = None
        self._tried_s = float("-inf")
        self.fault: str | None = None

    @property
    def url(self) -> str:
        """Where a browser of this machine finds it."""
        host = self.where[0]
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        host = anywhere.get(host, host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def port(self) -> int | None:
        """The port that it listens on; None while it does not."""
        return None if self._server is None else self._server.server_port

    def keep_open(self) -> bool:
        """Begin to listen, if that has not been possible so far; true when that is news.

        Why it is not possible stands in `fault`.
        """
        now_s = time.monotonic()
        if self._server is not None or now_s - self._tried_s < RETRY_S:
            return False
        self._tried_s, before = now_s, self.fault
        try:
            kind = _Server6 if ":" in self.where[0] else _Server
            server = make_server(*self.where, self._application, kind, _Quiet)
        except OSError as error:
            self.fault = str(error.strerror)
            return before is None
        self.fault, self._server = None, server
        threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
        return before is not None

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
