"""Those who listen: `listen`, and a stranger who has read nothing but docs/wire.md."""

import itertools
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import pytest
import zmq

from mlppa import listen as listen_module
from mlppa.errors import EndpointError
from mlppa.listen import Context, listen
from mlppa.publish import publish
from mlppa.sinks.journal import Journal
from mlppa.sinks.memory import MemorySink
from mlppa.sinks.reader import JournalReader
from mlppa.sinks.zmq import ReplayServer, ZmqSink
from mlppa.wire import ReplayHeader, ReplayRequest, encode

from .messages import ORIGIN, cov_message, detection_message, report

ANY_PORT = "tcp://127.0.0.1:*"
PAGE = Path(__file__).parents[1] / "docs" / "wire.md"

type Answer = tuple[ReplayHeader, list[bytes]]
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


def journal_bodies(path: Path) -> list[tuple[int, bytes]]:
    with JournalReader(path) as journal:
        return journal.since(0, 100)


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


def test_a_listener_that_is_there_first_gets_the_history_too(
    journal: Journal,
    broadcast: Broadcast,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill(journal, range(4))
    bodies = dict(journal.since(0, 100))
    asked: list[int] = []

    def request(context: Context, endpoint: str, what: ReplayRequest, keys: None) -> Answer:
        asked.append(what.from_seq)
        if len(asked) == 1:
            raise EndpointError(endpoint, "no answer", "start it")
        return answer(context, endpoint, what)

    answer = listen_module.request
    monkeypatch.setattr(listen_module, "request", request)
    with ReplayServer(journal.path, ANY_PORT) as server:
        sent = [bodies[seq] for seq in (6, 7, 8)]
        assert heard(6, broadcast(sent), server.endpoint, from_seq=3) == "3 4 5 6 7 8"
    assert asked == [3, 3]
    assert not caplog.records


def test_what_the_replay_refuses_is_told_with_one_remedy(
    journal: Journal, broadcast: Broadcast, caplog: pytest.LogCaptureFixture
) -> None:
    other = cov_message(7).model_copy(update={"seq": 7, "stream": "another"})
    sent = [encode(other.model_copy(update={"seq": seq})) for seq in (5, 7)]
    with ReplayServer(journal.path, ANY_PORT) as server:
        assert heard(2, broadcast(sent), server.endpoint) == "5 7"
        told = (
            f"no replay: {server.endpoint}: stream another: not here: this is askap; ask elsewhere"
        )
    assert caplog.records[0].getMessage() == told


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


@contextmanager
def stranger(folder: Path, publisher: str, replay: str) -> Iterator[Iterator[str]]:
    """Run the page's own subscriber; kinds and numbers of what it prints."""
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    script = folder / "subscriber.py"
    script.write_text(code)
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(script), publisher, replay],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        lines = cast(Iterator[str], process.stdout)
        yield (re.sub(r"^(pulse|looked at) (\d+) .*\n", r"\1 \2", line) for line in lines)
        process.kill()


def test_a_stranger_with_the_page_gets_everything(tmp_path: Path, journal: Journal) -> None:
    with closing(ZmqSink(ANY_PORT)) as sink, ReplayServer(journal.path, ANY_PORT) as server:
        # Ten messages before anybody listens.
        [*_] = publish(map(report, range(5)), journal, [sink], ORIGIN)
        journal.close()
        stop = threading.Event()
        publisher = threading.Thread(target=batches_forever, args=(journal.path, sink, stop))
        publisher.start()
        with stranger(tmp_path, sink.endpoint, server.endpoint) as lines:
            found = list(itertools.islice(lines, 200))
        stop.set()
        publisher.join()
    pairs = ((f"pulse {seq}", f"looked at {seq + 1}") for seq in range(1, 201, 2))
    assert found == list(itertools.chain.from_iterable(pairs))


def test_a_stranger_with_the_page_hears_the_later_word(
    tmp_path: Path, broadcast: Broadcast
) -> None:
    path = tmp_path / "journal.sqlite"
    for run in ("run 1", "run 2"):  # each gives the same two messages
        with Journal(path, "askap", run) as journal:
            fill(journal, range(1))
    bodies = dict(journal_bodies(path))
    with ReplayServer(path, ANY_PORT) as server:
        # the last two again: nothing new
        sent = [bodies[3], bodies[4], *numbered(5)]
        with stranger(tmp_path, broadcast(sent), server.endpoint) as lines:
            found = list(itertools.islice(lines, 5))
    assert found == ["pulse 1", "looked at 2", "pulse 3", "looked at 4", "looked at 5"]


def test_a_stranger_with_the_page_may_be_there_before_the_journal(
    tmp_path: Path, broadcast: Broadcast
) -> None:
    with (
        ReplayServer(tmp_path / "nothing.sqlite", ANY_PORT) as server,
        stranger(tmp_path, broadcast(numbered(1, 2)), server.endpoint) as lines,
    ):
        assert list(itertools.islice(lines, 2)) == ["looked at 1", "looked at 2"]
