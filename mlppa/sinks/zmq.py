"""ZeroMQ: messages to whoever listens, and the history to whoever missed some.

PUB never waits: a reader that stalls loses messages and nobody is told. That is
why every message has a number, and why `ReplayServer` stands beside the publisher.
"""

import errno
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import zmq
from zmq.auth.thread import ThreadAuthenticator

from ..curve import Keys, guard
from ..errors import EndpointError, EnvironmentFault, InputError, SinkError
from ..wire import (
    REPLAY_LIMIT,
    Message,
    ReplayHeader,
    ReplayRequest,
    encode,
    read,
    topic,
)
from ..wire.address import ADDRESS_REMEDY
from .reader import JournalReader

log = logging.getLogger(__name__)

#: Messages that wait for one slow subscriber before it loses some: about 10 MB.
SUBSCRIBER_QUEUE = 10_000

#: How long the last messages may take to leave when the sink is closed.
LINGER_MS = 1000

#: A longer request ends the connection of who sent it.
LONGEST_REQUEST_BYTES = 4096

#: Answers that wait for one slow client: at most about 1 MB each.
CLIENT_QUEUE = 16


class ZmqSink:
    """Publishes every message as ``[topic, json]`` on a PUB socket.

    Parameters
    ----------
    endpoint
        ZeroMQ address to bind, such as ``tcp://*:5555``.
    keys
        Who may listen; None for all who can reach it.

    Raises
    ------
    EndpointError
        The address cannot be bound.
    EnvironmentFault
        A key file cannot be used.
    """

    name = "zmq"

    def __init__(self, endpoint: str, keys: Keys | None = None) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, SUBSCRIBER_QUEUE)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        self._guard = _guard(self._context, self._socket, keys)
        self.endpoint = _bind(self._context, self._socket, endpoint, self._guard)

    def send(self, message: Message) -> None:
        """Publish one message; whoever cannot keep up does not hold us back."""
        try:
            self._socket.send_multipart([topic(message), encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            raise SinkError(self.endpoint, str(error), "restart the program") from error

    def close(self) -> None:
        """Give the last messages a second to leave."""
        self._socket.close()
        if self._guard is not None:
            self._guard.stop()
        self._context.term()


class ReplayServer:
    """Answers requests for past messages, in a thread of its own, from the journal.

    A request is a `ReplayRequest`; the answer is one multipart message, a
    `ReplayHeader` and then the messages. Works for REQ and for DEALER clients.
    Whatever comes in, it goes on.

    Parameters
    ----------
    journals
        Path of the journal, or of several by the name of their stream; opened for every
        request and for reading only.
    endpoint
        ZeroMQ address to bind.
    keys
        Who may ask; None for all who can reach it.

    Raises
    ------
    EndpointError
        The address cannot be bound.
    EnvironmentFault
        A key file cannot be used.
    """

    def __init__(
        self,
        journals: Path | str | Mapping[str, Path],
        endpoint: str,
        keys: Keys | None = None,
    ) -> None:
        self._journals = journals
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LONGEST_REQUEST_BYTES)
        self._socket.setsockopt(zmq.SNDHWM, CLIENT_QUEUE)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._guard = _guard(self._context, self._socket, keys)
        self.endpoint = _bind(self._context, self._socket, endpoint, self._guard)
        self._thread = threading.Thread(target=self._serve, name="replay", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering."""
        if self._guard is not None:
            self._guard.stop()
        # Ending the context wakes the thread from its wait, and waits for it to let go.
        self._context.term()
        self._thread.join()

    def _serve(self) -> None:
        with self._socket:
            while True:
                try:
                    *envelope, request = self._socket.recv_multipart()
                    self._socket.send_multipart([*envelope, *answer(self._journals, request)])
                except zmq.ContextTerminated:
                    return
                except zmq.ZMQError as error:
                    # of one client: the others are answered
                    log.warning("%s: a request is not answered (%s)", self.endpoint, error)


def answer(journals: Path | str | Mapping[str, Path], request: bytes) -> list[bytes]:
    """Give the frames that answer one request: a header, then the messages."""
    try:
        asked = read(ReplayRequest, request)
        with JournalReader(_chosen(journals, asked)) as reader:
            return _replay(reader, asked)
    except InputError as error:
        return [encode(ReplayHeader(error=str(error)))]
    except SinkError as error:
        # whoever asks cannot mend the journal, and has no use for its path
        return [encode(ReplayHeader(error=f"{error.cause}; ask again later"))]


def _chosen(journals: Path | str | Mapping[str, Path], asked: ReplayRequest) -> Path:
    """Give the journal of the stream that is asked for."""
    if isinstance(journals, Path | str):
        return Path(journals)
    if asked.stream is not None and asked.stream in journals:
        return journals[asked.stream]
    if asked.stream is None and len(journals) == 1:
        return next(iter(journals.values()))
    here = ", ".join(sorted(journals))
    raise InputError(f"stream {asked.stream}", f"not here: there are {here}", "name one of them")


def _replay(reader: JournalReader, asked: ReplayRequest) -> list[bytes]:
    stream = reader.stream
    if asked.stream not in (None, stream):
        raise InputError(f"stream {asked.stream}", f"not here: this is {stream}", "ask elsewhere")
    # The end is read first: a message that is journalled meanwhile is then more, never a hole.
    end = reader.next_seq
    rows = reader.since(asked.from_seq, min(asked.limit, REPLAY_LIMIT))
    next_seq = rows[-1][0] + 1 if rows else end
    header = ReplayHeader(
        stream=stream,
        first_seq=rows[0][0] if rows else None,
        next_seq=next_seq,
        more=next_seq < end,
    )
    return [encode(header), *(body for _, body in rows)]


#: What to do when an address cannot be bound, by the reason.
_REMEDIES = {
    zmq.EADDRINUSE: "end the program that uses it, or name another, such as tcp://127.0.0.1:5555",
    zmq.EADDRNOTAVAIL: "name an address of this machine, or tcp://*:PORT for all of them",
    errno.ENODEV: "name an address of this machine, or tcp://*:PORT for all of them",
    errno.EACCES: "take a port above 1023, or a path in a folder of yours",
    errno.ENOENT: "make the folder of the path, or choose another",
    errno.ENOTDIR: "choose a path in a folder",
}


type Context = zmq.Context[zmq.Socket[bytes]]


def _guard(
    context: Context, socket: zmq.Socket[bytes], keys: Keys | None
) -> ThreadAuthenticator | None:
    """Let only those in whose keys are known."""
    if keys is None:
        return None
    try:
        return guard(context, socket, keys)
    except EnvironmentFault:
        socket.close(linger=0)
        context.term()
        raise


def _bind(
    context: Context, socket: zmq.Socket[bytes], endpoint: str, guarded: ThreadAuthenticator | None
) -> str:
    """Bind, and give the address with its true port."""
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        socket.close(linger=0)
        if guarded is not None:
            guarded.stop()
        context.term()
        cause = f"cannot be bound ({zmq.strerror(error.errno or 0)})"
        remedy = _REMEDIES.get(error.errno or 0, ADDRESS_REMEDY)
        raise EndpointError(endpoint, cause, remedy) from error
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)
