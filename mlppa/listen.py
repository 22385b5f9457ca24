"""The other end of the wire: messages as they come, holes filled where that can be."""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import zmq

from .curve import Keys, present
from .errors import EndpointError, InputError
from .wire import Message, ReplayHeader, ReplayRequest, decode, encode, message_id, read
from .wire.address import ADDRESS_REMEDY

logger = logging.getLogger(__name__)

type Context = zmq.Context[zmq.Socket[bytes]]
type Socket = zmq.Socket[bytes]

#: How long to wait for an answer of the replay endpoint.
ANSWER_MS = 3000

#: A publisher that is not heard of for this long is connected to again.
HEARTBEAT_MS = 5000

#: Whoever wants to end waits no longer than this.
LOOK_UP_MS = 250

#: Messages remembered by name: more than a publisher sends twice after a restart.
MEMORY = 10_000


def listen(
    endpoint: str,
    replay: str | None = None,
    from_seq: int | None = None,
    patience_s: float | None = None,
    keys: Keys | None = None,
    ended: Callable[[], bool] = lambda: False,
) -> Generator[Message]:
    """Receive detections and coverage without end, each once, by rising number.

    Parameters
    ----------
    endpoint
        Address of the publisher; it need not be there yet.
    replay
        Address of its replay endpoint: what was missed is asked for there. What
        cannot be had is told by one warning in the log.
    from_seq
        Begin with the history from this number on (needs ``replay``): it is asked for
        at the start, and with the first message where nobody answered then. Below 0: with so
        many messages before the first that is heard of a stream.
    patience_s
        Warn once when nothing was heard for so long at the beginning.
    keys
        Our key, and that of the publisher, where it lets in none without.
    ended
        Is asked now and then: true ends it.

    Raises
    ------
    EndpointError
        An address is not one.
    EnvironmentFault
        A key file cannot be used.
    """
    with _context() as context, _connected(context, zmq.SUB, endpoint, keys) as socket:
        # All there is; what is of another kind, or newer, is left out below.
        socket.subscribe(b"")
        ear = _Ear(context, replay, from_seq, keys)
        # Subscribed first and asked then: what comes meanwhile waits in the queue.
        yield from ear.begin()
        if patience_s is not None and not socket.poll(int(1e3 * patience_s)):
            logger.warning(
                "waiting for %s (nothing heard yet; is mlppa running with --publish?)", endpoint
            )
        while not ended():
            if not socket.poll(LOOK_UP_MS):
                continue
            *_, body = socket.recv_multipart()
            try:
                message = decode(body)
            except InputError as error:
                logger.warning("%s: %s", endpoint, error)
                continue
            yield from ear.hear(message)


class _Ear:
    """Knows, per stream, which number comes next and what was heard lately."""

    def __init__(
        self,
        context: Context,
        replay: str | None,
        from_seq: int | None,
        keys: Keys | None = None,
    ) -> None:
        self._context = context
        self._keys = keys
        self._replay = replay
        wanted = from_seq if replay is not None else None
        self._first = max(wanted, 1) if wanted is not None and wanted >= 0 else None
        self._before = -wanted if wanted is not None and wanted < 0 else 0
        self._next: dict[str, int] = {}
        self._names: deque[tuple[str, str]] = deque(maxlen=MEMORY)

    def begin(self) -> Iterator[Message]:
        """Give the history that was wished for; should it not be there yet, `hear` asks again."""
        if self._first is not None:
            yield from self.ask(self._first, None, logging.INFO)

    def hear(self, message: Message) -> Iterator[Message]:
        """Give what a message brings: itself, before it what was missed, or nothing."""
        stream, seq = message.stream, message.seq or 0
        first = self._first or max(seq - self._before, 1)
        due = self._next.setdefault(stream, min(first, seq))
        if seq < due:
            if (stream, message_id(message)) in self._names:
                return
            logger.warning("%s: the numbers begin anew at %d", stream, seq)
            self._next[stream] = 1 if self._replay else seq
        if seq > self._next[stream]:
            yield from self.ask(self._next[stream], stream)
            self._tell_lost(stream, self._next[stream], seq)
        if seq >= self._next[stream]:
            yield self._note(message)

    def ask(
        self, from_seq: int, stream: str | None, level: int = logging.WARNING
    ) -> Iterator[Message]:
        """Give the history from a number on, as far as it can be had."""
        more = self._replay is not None
        while more and self._replay is not None:
            asked = ReplayRequest(from_seq=from_seq, stream=stream)
            try:
                header, bodies = request(self._context, self._replay, asked, self._keys)
            except (EndpointError, InputError) as error:
                logger.log(level, "no replay: %s", error)
                return
            self._tell_lost(header.stream, max(from_seq, 1), header.first_seq)
            for body in bodies:
                try:
                    yield self._note(decode(body))
                except InputError as error:
                    logger.warning("%s: %s", self._replay, error)
            if header.stream is None or header.next_seq is None:
                return
            more = header.more and header.next_seq > from_seq
            self._next[header.stream] = from_seq = header.next_seq

    def _tell_lost(self, stream: str | None, due: int, came: int | None) -> None:
        if came is not None and came > due:
            logger.warning("%s: messages %d to %d are lost", stream, due, came - 1)

    def _note(self, message: Message) -> Message:
        self._next[message.stream] = (message.seq or 0) + 1
        self._names.append((message.stream, message_id(message)))
        return message


def request(
    context: Context, endpoint: str, asked: ReplayRequest, keys: Keys | None = None
) -> tuple[ReplayHeader, list[bytes]]:
    """Ask a replay endpoint once; the messages come as bytes.

    Raises
    ------
    EndpointError
        No answer came.
    InputError
        The answer is an error, or cannot be read.
    """
    with _connected(context, zmq.REQ, endpoint, keys) as socket:
        socket.send(encode(asked))
        if not socket.poll(ANSWER_MS):
            raise EndpointError(endpoint, "no answer", "start mlppa with --replay at this address")
        first, *bodies = socket.recv_multipart()
    header = read(ReplayHeader, first)
    if header.error is not None:
        # what is wrong, and what to do about it
        cause, _, remedy = header.error.rpartition("; ")
        raise InputError(endpoint, cause or remedy, remedy if cause else "ask for something else")
    return header, bodies


@contextmanager
def _context() -> Generator[Context]:
    context = zmq.Context()
    try:
        yield context
    finally:
        context.term()


@contextmanager
def _connected(
    context: Context, kind: int, endpoint: str, keys: Keys | None = None
) -> Generator[Socket]:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    try:
        if keys is not None:
            present(socket, keys)
        socket.connect(endpoint)
        yield socket
    except zmq.ZMQError as error:
        raise EndpointError(
            endpoint, f"cannot be reached ({error.strerror})", ADDRESS_REMEDY
        ) from error
    finally:
        socket.close()
