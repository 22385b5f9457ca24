"""Those who listen: `listen`, and a stranger who has read nothing but docs/wire.md."""

import itertools
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
import zmq

from mlppa import listen as listen_module
from mlppa.errors import EndpointError
from mlppa.listen import listen
from mlppa.publish import publish
from mlppa.sinks.journal import Journal
from mlppa.sinks.memory import MemorySink
from mlppa.sinks.zmq import ReplayServer, ZmqSink
from mlppa.wire import encode

from .messages import ORIGIN, cov_message, detection_message, report

ANY_PORT = "tcp://127.0.0.1:*"
PAGE = Path(__file__).parents[1] / "docs" / "wire.md"

type Broadcast = Callable[[Iterable[bytes]], str]


@pytest.fixture
def broadcast() -> Iterator[Broadcast]:
    """Send bodies as soon as somebody has subscribed: ``endpoint = broadcast(bodies)``."""
    context = zmq.Context()
    senders: list[threading.Thread] = []

    def send(socket: zmq.Socket[bytes], bodies: Iterable[bytes]) -> None:
        with socket:
            if socket.poll(5000):
                for body in bodies:
                    socket.send_multipart([b"topic", body])

    def start(bodies: Iterable[bytes]) -> str:
        socket = context.socket(zmq.XPUB)
        socket.bind(ANY_PORT)
        senders.append(threading.Thread(target=send, args=(socket, bodies)))
        endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        senders[-1].start()
        return endpoint

    yield start
    for sender in senders:
        sender.join()
    context.term()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite", "askap", "run 1") as journal:
        yield journal


def heard(count: int, endpoint: str, replay: str | None = None, from_seq: int | None = None) -> str:
    """Numbers of the first messages heard."""
    with closing(listen(endpoint, replay, from_seq)) as messages:
        return " ".join(str(message.seq) for message in itertools.islice(messages, count))


def numbered(*seqs: int) -> list[bytes]:
    return [encode(cov_message(seq).model_copy(update={"seq": seq})) for seq in seqs]


def fill(journal: Journal, batches: range) -> None:
    journal.record(
        message
        for number in batches
        for message in (detection_message(sample=number * 1e3), cov_message(number))
    )


def test_messages_as_they_come_each_once(broadcast: Broadcast) -> None:
    assert heard(4, broadcast(numbered(5, 6, 7, 6, 7, 8))) == "5 6 7 8"


def test_what_cannot_be_read_is_left_out(
    broadcast: Broadcast, caplog: pytest.LogCaptureFixture
) -> None:
    other = b'{"schema": "mlppa.later/1", "stream": "askap", "seq": 2}'
    assert heard(2, broadcast([*numbered(1), b"rubbish", other, *numbered(3)])) == "1 3"
    assert "not JSON" in caplog.text
    assert "mlppa.later/1" in caplog.text


def test_a_hole_without_replay_is_told(
    broadcast: Broadcast, caplog: pytest.LogCaptureFixture
) -> None:
    assert heard(3, broadcast(numbered(5, 9, 10))) == "5 9 10"
    assert [record.message for record in caplog.records] == ["askap: messages 6 to 8 are lost"]


def test_numbers_that_begin_anew_are_followed(
    broadcast: Broadcast, caplog: pytest.LogCaptureFixture
) -> None:
    assert heard(4, broadcast(numbered(11, 12, 1, 2))) == "11 12 1 2"
    assert [record.message for record in caplog.records] == ["askap: the numbers begin anew at 1"]


def test_holes_are_filled_from_the_replay(
    journal: Journal, broadcast: Broadcast, caplog: pytest.LogCaptureFixture
) -> None:
    fill(journal, range(10))
    bodies = dict(journal.since(0, 100))
    with ReplayServer(journal.path, ANY_PORT) as server:
        sent = [bodies[seq] for seq in (5, 6, 10, 11, 20)]
        expected = " ".join(map(str, range(5, 21)))
        assert heard(16, broadcast(sent), server.endpoint) == expected
        assert heard(16, broadcast(sent), server.endpoint, from_seq=5) == expected
        assert heard(20, broadcast([]), server.endpoint, from_seq=0).startswith("1 2 3 4 5 6")
    assert not caplog.records


def test_a_journal_begun_anew_is_heard_from_its_start(
    journal: Journal, broadcast: Broadcast
) -> None:
    fill(journal, range(3))
    bodies = dict(journal.since(0, 100))
    with ReplayServer(journal.path, ANY_PORT) as server:
        sent = [*numbered(41), bodies[5], bodies[6]]
        assert heard(7, broadcast(sent), server.endpoint) == "41 1 2 3 4 5 6"


def test_history_that_is_gone_is_told(
    tmp_path: Path, broadcast: Broadcast, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path, "askap", "run 1") as journal:
        fill(journal, range(3))
    with Journal(path, "askap", "run 2") as journal, ReplayServer(path, ANY_PORT) as server:
        fill(journal, range(3, 5))
        journal._database.execute("DELETE FROM message WHERE run = 1")
        assert heard(4, broadcast([]), server.endpoint, from_seq=2) == "7 8 9 10"
    assert "askap: messages 2 to 6 are lost" in caplog.text


def test_a_replay_that_does_not_answer_is_told_and_the_stream_goes_on(
    broadcast: Broadcast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listen_module, "ANSWER_MS", 50)
    dead = "tcp://127.0.0.1:9"
    assert heard(2, broadcast(numbered(5, 7)), dead) == "5 7"
    assert "no answer" in caplog.text
    assert "messages 6 to 6 are lost" in caplog.text


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(EndpointError, match="nonsense"):
        next(listen("nonsense"))


def batches_forever(path: Path, sink: ZmqSink, stop: threading.Event) -> None:
    """Publish without a pause for anybody; every third batch never reaches the network."""
    with Journal(path, "askap", "run 1") as journal:
        for number in itertools.count(5):
            reaches = MemorySink() if number % 3 == 0 else sink
            [*_] = publish([report(number)], journal, [reaches], ORIGIN)
            if stop.wait(0.02):
                return


def test_a_stranger_with_the_page_gets_everything(tmp_path: Path, journal: Journal) -> None:
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    script = tmp_path / "subscriber.py"
    script.write_text(code)
    with closing(ZmqSink(ANY_PORT)) as sink, ReplayServer(journal.path, ANY_PORT) as server:
        # Ten messages before anybody listens.
        [*_] = publish(map(report, range(5)), journal, [sink], ORIGIN)
        journal.close()
        stop = threading.Event()
        publisher = threading.Thread(target=batches_forever, args=(journal.path, sink, stop))
        publisher.start()
        with subprocess.Popen(
            [sys.executable, "-W", "error", str(script), sink.endpoint, server.endpoint],
            stdout=subprocess.PIPE,
            text=True,
        ) as subscriber:
            lines = list(itertools.islice(cast(Iterator[str], subscriber.stdout), 200))
            subscriber.kill()
        stop.set()
        publisher.join()
    found = [re.sub(r"^(pulse|looked at) (\d+) .*\n", r"\1 \2", line) for line in lines]
    pairs = ((f"pulse {seq}", f"looked at {seq + 1}") for seq in range(1, 201, 2))
    assert found == list(itertools.chain.from_iterable(pairs))
