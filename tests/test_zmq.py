"""Real sockets on the loopback: publisher, replay endpoint, and both kinds of listener."""

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
import zmq

from mlppa.errors import ConfigError, EndpointError, SinkError
from mlppa.sinks import open_sink
from mlppa.sinks import zmq as zmq_module
from mlppa.sinks.journal import Journal
from mlppa.sinks.memory import MemorySink
from mlppa.sinks.zmq import LONGEST_REQUEST_BYTES, ReplayServer, ZmqSink
from mlppa.wire import Message, decode, encode

from .messages import cov_message, detection_message

ANY_PORT = "tcp://127.0.0.1:*"

type Socket = zmq.Socket[bytes]
type Connect = Callable[[int, str], Socket]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make sockets of a kind, connected, that give up after 5 s and are closed at the end."""
    context = zmq.Context()
    sockets: list[Socket] = []

    def make(kind: int, endpoint: str) -> Socket:
        socket = context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, 5000)
        if kind == zmq.SUB:
            socket.subscribe(b"")
        socket.connect(endpoint)
        sockets.append(socket)
        return socket

    yield make
    for socket in sockets:
        socket.close()
    context.term()


@pytest.fixture
def sink() -> Iterator[ZmqSink]:
    with closing(ZmqSink(ANY_PORT)) as sink:
        yield sink


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite", "askap", "run 1") as journal:
        yield journal


@pytest.fixture
def server(journal: Journal) -> Iterator[ReplayServer]:
    with ReplayServer(journal.path, ANY_PORT) as server:
        yield server


def numbered(seq: int) -> Message:
    return cov_message(seq).model_copy(update={"seq": seq})


def fill(journal: Journal, batches: range) -> list[Message]:
    """Journal a pulse and a coverage message per batch."""
    pairs = ((detection_message(sample=n * 1e3), cov_message(n)) for n in batches)
    return journal.record(itertools.chain.from_iterable(pairs))


def until_subscribed(sink: ZmqSink, socket: Socket) -> None:
    """A subscription takes a moment: send until the first message arrives, then drain."""
    for seq in itertools.count(1):
        sink.send(numbered(seq))
        if socket.poll(20):
            break
    while socket.poll(100):
        socket.recv_multipart()


def ask(socket: Socket, request: object) -> tuple[dict[str, object], list[bytes]]:
    socket.send(request if isinstance(request, bytes) else json.dumps(request).encode())
    header, *bodies = socket.recv_multipart()
    return json.loads(header), bodies


def test_a_subscriber_gets_topic_and_message(sink: ZmqSink, connect: Connect) -> None:
    socket = connect(zmq.SUB, sink.endpoint)
    until_subscribed(sink, socket)
    message = detection_message(injected=True).model_copy(update={"seq": 99})
    sink.send(message)
    assert socket.recv_multipart() == [b"inj.askap", encode(message)]


def test_a_stalled_subscriber_holds_nobody_back(
    monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    monkeypatch.setattr(zmq_module, "SUBSCRIBER_QUEUE", 100)
    with closing(ZmqSink(ANY_PORT)) as sink:
        stalled, busy = (connect(zmq.SUB, sink.endpoint) for _ in range(2))
        until_subscribed(sink, stalled)
        until_subscribed(sink, busy)
        begin = time.monotonic()
        for seq in range(20_000):
            sink.send(numbered(seq + 1))
            if seq % 50 == 0:
                while busy.poll(1):
                    latest = decode(busy.recv_multipart()[1])
        assert time.monotonic() - begin < 20
        while busy.poll(200):
            latest = decode(busy.recv_multipart()[1])
        assert latest.seq == 20_000


def test_an_address_in_use_is_refused_with_a_remedy(sink: ZmqSink) -> None:
    with pytest.raises(EndpointError, match=r"in use.*end the program that uses it"):
        ZmqSink(sink.endpoint)


@pytest.mark.parametrize("endpoint", ["nonsense", "tcp://192.0.2.1:5555", "tcp://127.0.0.1"])
def test_an_address_that_cannot_be_bound_is_named(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(EndpointError, match=re.escape(endpoint)):
        ZmqSink(endpoint)
    with pytest.raises(EndpointError, match=re.escape(endpoint)):
        ReplayServer(tmp_path / "journal.sqlite", endpoint)


def test_a_broken_socket_is_a_sink_error(sink: ZmqSink) -> None:
    sink._socket.close()
    with pytest.raises(SinkError):
        sink.send(numbered(1))


def test_the_scheme_of_a_uri_tells_the_sink(tmp_path: Path) -> None:
    assert isinstance(open_sink("memory:"), MemorySink)
    for uri in (ANY_PORT, f"ipc://{tmp_path}/p"):
        with closing(open_sink(uri)) as sink:
            assert isinstance(sink, ZmqSink)


@pytest.mark.parametrize("uri", ["pigeon:coo", "tcp", "nonsense", "", ":", "127.0.0.1:5555"])
def test_a_uri_of_no_installed_sink_is_refused_with_an_example(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"one like tcp://.*ipc:, .*memory:, .*tcp:"):
        open_sink(uri)


def test_replay_gives_everything_since(
    journal: Journal, server: ReplayServer, connect: Connect
) -> None:
    messages = fill(journal, range(10))
    header, bodies = ask(connect(zmq.REQ, server.endpoint), {"from_seq": 5})
    assert [decode(body) for body in bodies] == messages[4:]
    assert header == {
        **{"schema": "mlppa.replay/1", "stream": "askap", "first_seq": 5},
        **{"next_seq": 21, "more": False, "error": None},
    }


def test_replay_in_pages(journal: Journal, server: ReplayServer, connect: Connect) -> None:
    messages = fill(journal, range(1100))
    socket = connect(zmq.REQ, server.endpoint)
    due, pages = 0, []
    more = True
    while more:
        header, bodies = ask(socket, {"from_seq": due, "limit": 10**6})
        pages.append(bodies)
        due, more = cast(int, header["next_seq"]), cast(bool, header["more"])
    assert [len(page) for page in pages] == [1000, 1000, 200]
    assert [decode(body) for page in pages for body in page] == messages
    header, bodies = ask(socket, {"from_seq": 7, "limit": 2, "stream": "askap"})
    assert (len(bodies), header["next_seq"], header["more"]) == (2, 9, True)


@pytest.mark.parametrize("envelope", [[], [b""]], ids=["bare", "like REQ"])
def test_replay_serves_dealers(
    journal: Journal, server: ReplayServer, connect: Connect, envelope: list[bytes]
) -> None:
    (message, _) = fill(journal, range(1))
    socket = connect(zmq.DEALER, server.endpoint)
    socket.send_multipart([*envelope, b'{"from_seq": 1, "limit": 1}'])
    frames = socket.recv_multipart()
    assert frames[: len(envelope)] == envelope
    assert frames[len(envelope) + 1 :] == [encode(message)]


def test_nothing_yet_and_numbers_of_another_time(
    journal: Journal, server: ReplayServer, connect: Connect
) -> None:
    socket = connect(zmq.REQ, server.endpoint)
    header, bodies = ask(socket, {"from_seq": 1})
    assert (header["next_seq"], header["more"], bodies) == (1, False, [])
    header, bodies = ask(socket, {"from_seq": 5000})
    assert (header["next_seq"], header["more"], bodies) == (1, False, [])


@pytest.mark.parametrize(
    "request_",
    [
        *(b"", b"{", b"\xff", b"[]", b"null", b"{}", b"[" * 4000, b'{"from_seq": 1e999}'),
        *({"from_seq": -1}, {"from_seq": "1"}, {"from_seq": 1.5}, {"from_seq": 2**70}),
        *({"from_seq": 1, "limit": 0}, {"from_seq": 1, "stream": "another"}),
    ],
    ids=lambda request: str(request)[:24],
)
def test_a_request_that_makes_no_sense_is_answered(
    journal: Journal, server: ReplayServer, connect: Connect, request_: object
) -> None:
    fill(journal, range(1))
    socket = connect(zmq.REQ, server.endpoint)
    header, bodies = ask(socket, request_)
    assert header["error"]
    assert (header["next_seq"], bodies) == (None, [])
    assert ask(socket, {"from_seq": 1})[0]["error"] is None


def test_too_long_a_request_hurts_nobody_else(
    journal: Journal, server: ReplayServer, connect: Connect
) -> None:
    fill(journal, range(1))
    connect(zmq.REQ, server.endpoint).send(b"x" * (LONGEST_REQUEST_BYTES + 1))
    greedy = connect(zmq.DEALER, server.endpoint)
    for _ in range(200):  # asks and never listens
        greedy.send(b'{"from_seq": 0}', zmq.NOBLOCK)
    assert ask(connect(zmq.REQ, server.endpoint), {"from_seq": 1})[0]["next_seq"] == 3


def test_replay_survives_what_happens_to_the_journal(tmp_path: Path, connect: Connect) -> None:
    path = tmp_path / "journal.sqlite"
    with ReplayServer(path, ANY_PORT) as server:
        socket = connect(zmq.REQ, server.endpoint)
        error = str(ask(socket, {"from_seq": 1})[0]["error"])
        assert "cannot be opened" in error
        assert error.endswith("; ask again later")
        assert str(tmp_path) not in error, "that is the server's own business"
        with Journal(path, "askap", "run 1") as journal:
            fill(journal, range(3))
        assert ask(socket, {"from_seq": 1})[0]["first_seq"] == 1
        with Journal(path, "askap", "run 2") as journal:
            header, kept = ask(socket, {"from_seq": 1})
            assert (len(kept), header["next_seq"]) == (6, 7)
            fill(journal, range(1))
            header, both = ask(socket, {"from_seq": 1})
            assert (both[:6], header["next_seq"]) == (kept, 9)
        path.write_bytes(b"rubbish" * 1000)
        assert "not a journal" in str(ask(socket, {"from_seq": 1})[0]["error"])


def test_replay_while_the_journal_is_written(
    journal: Journal, server: ReplayServer, connect: Connect
) -> None:
    done = threading.Event()

    def write() -> None:
        for number in range(300):
            fill(journal, range(number, number + 1))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    socket = connect(zmq.REQ, server.endpoint)
    due, got = 1, []
    while not done.is_set() or due < 601:
        header, bodies = ask(socket, {"from_seq": due})
        got += [decode(body).seq for body in bodies]
        due = cast(int, header["next_seq"])
    writer.join()
    assert got == list(range(1, 601))


def test_replay_costs_nothing_idle_and_stops_at_once(tmp_path: Path) -> None:
    server = ReplayServer(tmp_path / "journal.sqlite", ANY_PORT)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05
    begin = time.monotonic()
    server.close()
    assert time.monotonic() - begin < 1
    assert not any(thread.name == "replay" for thread in threading.enumerate())
