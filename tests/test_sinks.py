"""The contract of every sink."""

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import entry_points
from shutil import which

import pytest

from mlppa.errors import ConfigError
from mlppa.sinks import Sink, open_sink
from mlppa.wire import Message

from .messages import cov_message, detection_message

#: Who makes a new sink gives its URI here.
URIS = {
    "exec": f"exec:{which('true')}?most_per_minute=1000000",
    "folder": "folder:{folder}/cut",
    "ipc": "ipc://{folder}/p",
    "jsonl": "jsonl:{folder}/lines.jsonl?what=det,inj,cov",
    "memory": "memory:",
    "tcp": "tcp://127.0.0.1:{port}",
    "voevent": "voevent:{folder}/events",
}


@pytest.fixture(params=sorted(URIS))
def uri(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return URIS[request.param].format(folder=tmp_path_factory.mktemp("s"), port=port)


@pytest.fixture
def sink(uri: str) -> Iterator[Sink]:
    with closing(open_sink(uri)) as sink:
        yield sink


def messages(count: int) -> Iterator[Message]:
    kinds = (detection_message(), detection_message(injected=True), cov_message(0))
    for seq in range(1, count + 1):
        yield kinds[seq % 3].model_copy(update={"seq": seq})


def test_every_sink_of_ours_is_under_this_contract() -> None:
    installed = entry_points(group="mlppa.sinks")
    assert {point.name for point in installed if point.value.startswith("mlppa.")} == set(URIS)


def test_it_takes_every_message_twice_if_need_be_and_waits_for_nobody(
    sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    begin = time.monotonic()
    for message in messages(300):
        sink.send(message)
        sink.send(message)
    assert time.monotonic() - begin < 2
    assert not caplog.records


def test_its_name_can_be_a_label(sink: Sink) -> None:
    assert sink.name.isidentifier()


def test_it_lets_go_of_all_that_it_holds(uri: str) -> None:
    for _ in range(2):
        sink = open_sink(uri)
        for message in messages(3):
            sink.send(message)
        begin = time.monotonic()
        sink.close()
        assert time.monotonic() - begin < 2


def test_a_sink_that_is_not_there_is_refused_without_telling_secrets() -> None:
    with pytest.raises(ConfigError, match="exce:/opt/alert: there is no sink for it") as refused:
        open_sink("exce:/opt/alert?arg=secret")
    assert "secret" not in str(refused.value)
