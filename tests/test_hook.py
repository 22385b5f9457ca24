"""A program of the user's: run as told, never waited for, never left behind."""

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from mlppa.errors import ConfigError, SinkError
from mlppa.sinks import open_sink
from mlppa.sinks.hook import HookSink, Program
from mlppa.wire import DetectionMessage, encode

from .conftest import MetricDelta
from .messages import ROWS, cov_message, detection_message

SOON_S = 5.0


def message(seq: int = 7) -> DetectionMessage:
    return detection_message(sample=1000.0 * seq).model_copy(update={"seq": seq})


def script(folder: Path, text: str, name: str = "hook") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def runs(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_gets_the_message_and_its_arguments(tmp_path: Path) -> None:
    out = tmp_path / "out"
    hook = script(tmp_path, f'cat > {out}; printf "%s\\n" "$#" "$@" "$MLPPA_ID" >> {out}')
    arguments = ["--flag", "two words & more", "$HOME; rm -rf x", "a+b", ""]
    query = "&".join(f"arg={quote(argument)}" for argument in arguments)
    with closing(open_sink(f"exec:{hook}?{query}")) as sink:
        sink.send(message())
    text, _, rest = out.read_text().partition("}5\n")
    assert json.loads(text + "}") == json.loads(encode(message()))
    assert rest.split("\n") == [*arguments, message().id, ""]


def test_it_gets_nothing_else_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("LANG", "C.UTF-8")
    hook = script(tmp_path, f"/usr/bin/env > {tmp_path}/out")
    with closing(open_sink(f"exec:{hook}")) as sink:
        sink.send(message())
    given = {line.partition("=")[0] for line in (tmp_path / "out").read_text().splitlines()}
    # the shell adds some of its own
    assert given - {"PWD", "SHLVL", "_", "OLDPWD"} <= {"PATH", "HOME", "LANG", "MLPPA_ID"}
    assert {"PATH", "LANG", "MLPPA_ID"} <= given


def test_it_is_run_for_detections_only_one_at_a_time_in_order(tmp_path: Path) -> None:
    hook = script(tmp_path, f"echo begin >> {tmp_path}/out; echo $MLPPA_ID >> {tmp_path}/out")
    with closing(open_sink(f"exec:{hook}")) as sink:
        for seq in range(5):
            sink.send(message(seq))
            sink.send(cov_message(seq))
            sink.send(message(seq).model_copy(update={"injected": True}))
    lines = (tmp_path / "out").read_text().split()
    assert lines == [word for seq in range(5) for word in ("begin", message(seq).id)]


def test_a_long_message_that_nobody_reads_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long = detection_message(listed=ROWS * 2000).model_copy(update={"seq": 1})
    assert len(encode(long)) > 500_000
    hook = script(tmp_path, "exit 0")
    reader = script(tmp_path, f"sleep 0.1; wc -c > {tmp_path}/out", "reader")
    for program in (hook, reader):
        with closing(open_sink(f"exec:{program}")) as sink:
            sink.send(long)
    assert int((tmp_path / "out").read_text()) == len(encode(long))
    assert not caplog.records


def test_a_failure_is_told_once_with_its_last_words_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, metric_delta: type[MetricDelta]
) -> None:
    errors = metric_delta("mlppa_sink_errors_total", sink="exec")
    hook = script(
        tmp_path,
        "test -e $0.mended && exit 0; echo told; head -c 300000 /dev/zero | tr '\\0' 'x' >&2;"
        " printf '\\nfirst\\nthe \\033[31mcause\\n\\n' >&2; exit 3",
    )
    with closing(open_sink(f"exec:{hook}")) as sink:
        sink.send(message(1))
        sink.send(message(2))
        wait_for(lambda: errors() == 2)
        (tmp_path / "hook.mended").touch()
        sink.send(message(3))
    assert [record.getMessage() for record in caplog.records] == [
        f"exec:{hook} fails: exec:{hook}: exit code 3 for {message(1).id} (the [31mcause);"
        " run it by hand with that message",
        f"exec:{hook} works again; it missed 2",
    ]


def test_one_that_hangs_is_killed_with_all_that_it_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, metric_delta: type[MetricDelta]
) -> None:
    errors = metric_delta("mlppa_sink_errors_total", sink="exec")
    pids = tmp_path / "pids"
    hook = script(tmp_path, f"trap '' TERM INT; sleep 60 & echo $$ $! > {pids}; wait; sleep 60")
    with closing(open_sink(f"exec:{hook}?timeout_s=1")) as sink:
        begin = time.monotonic()
        sink.send(message())
        assert time.monotonic() - begin < 0.5, "the stream does not wait"
        wait_for(lambda: errors() == 1)
        assert time.monotonic() - begin < 3
        wait_for(lambda: not any(runs(int(pid)) for pid in pids.read_text().split()))
    assert f"still ran after 1 s for {message().id}" in caplog.text


def test_what_it_leaves_running_is_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook = script(tmp_path, f"sleep 60 & echo $! > {tmp_path}/pid; exit 0")
    begin = time.monotonic()
    with closing(open_sink(f"exec:{hook}")) as sink:
        sink.send(message())
    assert time.monotonic() - begin < 2
    pid = int((tmp_path / "pid").read_text())
    assert runs(pid), "it is none of our business"
    os.kill(pid, signal.SIGKILL)
    assert not caplog.records


def test_closing_ends_what_hangs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, metric_delta: type[MetricDelta]
) -> None:
    dropped = metric_delta("mlppa_dropped_total", queue="exec")
    hook = script(tmp_path, f"echo $$ >> {tmp_path}/pids; exec sleep 60")
    sink = open_sink(f"exec:{hook}?timeout_s=0.4")
    for seq in range(4):
        sink.send(message(seq))
    wait_for((tmp_path / "pids").exists)
    begin = time.monotonic()
    sink.close()
    assert time.monotonic() - begin < 1.5
    assert 1 <= dropped() <= 3
    assert "still waiting" in caplog.text
    assert not any(runs(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_beyond_the_limit_of_a_minute_it_is_told_once_and_counted(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    metric_delta: type[MetricDelta],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hook = script(tmp_path, f"echo $MLPPA_ID >> {tmp_path}/out")
    beyond = metric_delta("mlppa_dropped_total", queue="exec_limit")
    now_s = 1000.0
    with closing(open_sink(f"exec:{hook}?most_per_minute=3")) as sink:
        monkeypatch.setattr("mlppa.sinks.hook._now_s", lambda: now_s)
        for seq in range(10):
            sink.send(message(seq))
        assert beyond() == 7
        now_s = 1059.0
        sink.send(message(10))
        now_s = 1060.0
        sink.send(message(11))
    assert beyond() == 8
    assert (tmp_path / "out").read_text().split() == [message(n).id for n in (0, 1, 2, 11)]
    (record,) = caplog.records
    assert "more than 3 detections a minute" in record.getMessage()


def test_a_queue_that_is_full_is_told(tmp_path: Path, metric_delta: type[MetricDelta]) -> None:
    dropped = metric_delta("mlppa_dropped_total", queue="exec")
    hook = script(tmp_path, f"touch {tmp_path}/begun; exec sleep 60")
    sink = HookSink(Program(argv=(str(hook),), timeout_s=1.0, most_per_minute=1000))
    sink.send(message())
    wait_for((tmp_path / "begun").exists)
    for seq in range(256):
        sink.send(message(seq))
    with pytest.raises(SinkError, match="256 wait already"):
        sink.send(message())
    assert dropped() == 1
    sink.close()


def test_one_that_vanishes_or_cannot_be_run_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, metric_delta: type[MetricDelta]
) -> None:
    errors = metric_delta("mlppa_sink_errors_total", sink="exec")
    hook = script(tmp_path, "exit 0")
    with closing(open_sink(f"exec:{hook}")) as sink:
        hook.unlink()
        sink.send(message())
        wait_for(lambda: errors() == 1)
    assert "cannot be run (No such file or directory)" in caplog.text
    (tmp_path / "hook").write_bytes(b"\x00no program")
    (tmp_path / "hook").chmod(0o755)
    with closing(open_sink(f"exec:{hook}")) as sink:
        sink.send(message())
    assert "cannot be run (Exec format error)" in caplog.text


def test_a_program_killed_by_a_signal_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(open_sink(f"exec:{script(tmp_path, 'kill -11 $$')}")) as sink:
        sink.send(message())
    assert "killed by signal 11" in caplog.text


@pytest.mark.parametrize(
    ("uri", "cause"),
    [
        ("exec:", "names no path"),
        ("exec:{folder}/none?arg=secret", "there is no such program"),
        ("exec:{folder}?arg=secret", "there is no such program"),
        ("exec:{folder}/plain?arg=secret", "may not be run"),
        ("exec:{folder}/hook?arg=secret&timeout_s=0", "option timeout_s is no number"),
        ("exec:{folder}/hook?arg=secret&most_per_minute=x", "option most_per_minute is no number"),
        ("exec:{folder}/hook?arg=secret&token=secret", "unknown option token"),
        ("exec:{folder}/hook?arg=secret%00", "option arg has a zero byte"),
    ],
)
def test_wrong_uris_are_refused_without_telling_secrets(
    tmp_path: Path, uri: str, cause: str
) -> None:
    script(tmp_path, "exit 0")
    (tmp_path / "plain").write_text("no program")
    with pytest.raises(ConfigError, match=cause) as refused:
        open_sink(uri.format(folder=tmp_path))
    assert "secret" not in str(refused.value)


def test_arguments_are_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(open_sink(f"exec:{script(tmp_path, 'exit 1')}?arg=secret")) as sink:
        sink.send(message())
    assert "exit code 1" in caplog.text
    assert "secret" not in caplog.text
