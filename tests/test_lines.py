"""Lines of messages: whole after any kill, once each, and within a budget of the disk."""

import errno
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mlppa.errors import ConfigError, SinkError
from mlppa.sinks import open_sink
from mlppa.sinks.lines import LinesSink
from mlppa.wire import CoverageMessage, DetectionMessage, decode, encode

from .messages import cov_message, detection_message


def detection(seq: int, day: int = 2, stream: str = "askap") -> DetectionMessage:
    changed = {"seq": seq, "created": f"2026-01-{day:02}T03:04:05.{seq:03}Z", "stream": stream}
    return detection_message().model_copy(update=changed)


def coverage(seq: int) -> CoverageMessage:
    return cov_message(0).model_copy(update={"seq": seq})


def seqs(path: Path) -> list[int | None]:
    return [decode(line).seq for line in path.read_bytes().splitlines()]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "found"


def test_a_line_is_what_is_sent(path: Path) -> None:
    with closing(open_sink(f"jsonl:{path}")) as sink:
        sink.send(detection(1))
        assert path.read_bytes() == encode(detection(1)) + b"\n", "before it is closed"
        sink.send(coverage(2))
        injected = detection_message(injected=True).model_copy(update={"seq": 3})
        sink.send(injected)
        sink.send(detection(4))
    assert path.read_bytes() == encode(detection(1)) + b"\n" + encode(detection(4)) + b"\n"


def test_what_is_written_can_be_chosen(path: Path) -> None:
    with closing(open_sink(f"jsonl:{path}?what=cov,inj")) as sink:
        sink.send(detection(1))
        sink.send(coverage(2))
        sink.send(detection_message(injected=True).model_copy(update={"seq": 3}))
    assert seqs(path) == [2, 3]


@pytest.mark.parametrize("cut", [1, 300, "all but one"])
def test_half_a_line_is_cut_off_and_comes_again(
    path: Path, cut: int | str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(LinesSink(path)) as sink:
        sink.send(detection(1))
        sink.send(detection(2))
    line = len(encode(detection(2))) + 1
    with path.open("r+b") as file:
        file.truncate(2 * line - (cut if isinstance(cut, int) else line - 1))
    with closing(LinesSink(path)) as sink:
        for seq in (1, 2, 3):
            sink.send(detection(seq))
    assert seqs(path) == [1, 2, 3]
    assert "cut short" in caplog.text


def test_a_file_of_half_a_line_is_begun_anew(path: Path) -> None:
    path.write_bytes(b"x" * 3_000_000)
    with closing(LinesSink(path)) as sink:
        sink.send(detection(1))
    assert seqs(path) == [1]


def test_lines_that_are_no_messages_stay(path: Path) -> None:
    path.write_bytes(b"\xff\n# a note\n")
    with closing(LinesSink(path)) as sink:
        sink.send(detection(1))
    assert path.read_bytes() == b"\xff\n# a note\n" + encode(detection(1)) + b"\n"


def test_what_comes_again_is_written_once(path: Path) -> None:
    for _ in range(3):
        with closing(LinesSink(path)) as sink:
            for seq in (1, 2):
                sink.send(detection(seq))
                sink.send(detection(seq, stream="other"))
    assert seqs(path) == [1, 1, 2, 2]


def test_what_comes_again_on_the_next_day_is_written_once(path: Path) -> None:
    with closing(LinesSink(path)) as sink:
        sink.send(detection(1))
        sink.send(detection(2, day=3))
    path.write_bytes(b"")
    with closing(LinesSink(path)) as sink:
        sink.send(detection(1))
        sink.send(detection(2, day=3))
    assert seqs(path) == [2]


def test_numbers_of_a_journal_that_was_begun_anew_are_not_taken_for_old_ones(path: Path) -> None:
    with closing(LinesSink(path)) as sink:
        sink.send(detection(7, day=2))
    with closing(LinesSink(path)) as sink:
        sink.send(detection(1, day=3))
    assert seqs(path) == [1]


def test_a_file_holds_a_day(path: Path) -> None:
    with closing(LinesSink(path)) as sink:
        for seq, day in enumerate((2, 2, 3, 2, 5), start=1):
            sink.send(detection(seq, day=day))
    assert files(path.parent) == ["found", "found-20260102", "found-20260103"]
    assert seqs(path.with_name("found-20260102")) == [1, 2]
    assert seqs(path.with_name("found-20260103")) == [3, 4], "late, but in order"
    assert seqs(path) == [5]


def test_the_day_is_known_after_a_restart(path: Path) -> None:
    for seq, day in ((1, 2), (2, 3)):
        with closing(LinesSink(path)) as sink:
            sink.send(detection(seq, day=day))
    assert seqs(path.with_name("found-20260102")) == [1]


def test_no_file_of_a_day_is_replaced(path: Path) -> None:
    path.with_name("found-20260102").write_bytes(b"mine\n")
    with closing(LinesSink(path)) as sink:
        sink.send(detection(1))
        sink.send(detection(2, day=3))
    assert path.with_name("found-20260102").read_bytes() == b"mine\n"
    assert seqs(path.with_name("found-20260102.1")) == [1]


def test_old_days_go(path: Path) -> None:
    path.with_name("found-202601").write_bytes(b"of somebody else\n")
    with closing(open_sink(f"jsonl:{path}?keep_days=2")) as sink:
        for day in range(1, 7):
            sink.send(detection(day, day=day))
    assert files(path.parent) == ["found", "found-202601", "found-20260104", "found-20260105"]


def test_the_oldest_days_go_when_there_is_too_much(path: Path) -> None:
    line = len(encode(detection(1))) + 1
    with closing(open_sink(f"jsonl:{path}?most_bytes={3 * line}")) as sink:
        for day in range(1, 7):
            sink.send(detection(day, day=day))
            sink.send(detection(day + 10, day=day))
    assert files(path.parent) == ["found"], "two days are too much, today stays"
    assert seqs(path) == [6, 16]


def test_a_file_that_was_moved_away_is_begun_anew(path: Path) -> None:
    with closing(LinesSink(path)) as sink:
        sink.send(detection(1))
        path.rename(path.with_name("moved"))
        sink.send(detection(2))
    assert (seqs(path.with_name("moved")), seqs(path)) == ([1], [2])


def test_a_full_disk_is_told_and_what_follows_is_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(LinesSink(path)) as sink:
        sink.send(detection(1))
        write = os.write

        def full(fd: int, data: bytes) -> int:
            if len(data) < 200:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(fd, data[: len(data) - 100])

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(SinkError, match=r"found: the disk is full"):
                sink.send(detection(2))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            patch.setattr(os, "ftruncate", lambda fd, size: write(-1, b""))
            with pytest.raises(SinkError, match="the disk is full"):
                sink.send(detection(3))
        sink.send(detection(4))
    assert seqs(path) == [1, 4]


def test_what_may_not_be_on_the_disk_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with closing(LinesSink(path)) as sink:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(SinkError, match="the disk is full"):
                sink.send(detection(1))
        sink.send(detection(2))
    assert seqs(path) == [2]


def test_a_kill_at_any_moment_loses_no_line_that_was_taken(path: Path) -> None:
    program = """
import sys
from mlppa.sinks.lines import LinesSink
from pathlib import Path
from tests.test_lines import detection
sink = LinesSink(Path(sys.argv[1]))
for seq in range(1, 100000):
    sink.send(detection(seq))
    print(seq, flush=True)
"""
    command = [sys.executable, "-c", program, str(path)]
    root = Path(__file__).parents[1]
    taken = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            taken = int(line)
            if taken == 30:
                process.send_signal(signal.SIGKILL)
    with closing(LinesSink(path)) as sink:
        for seq in range(20, taken + 3):
            sink.send(detection(seq))
    written = seqs(path)
    assert taken >= 30
    assert written == list(range(1, len(written) + 1))
    assert len(written) >= taken + 2


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ("?what=det,all", "takes some of"),
        ("?keep_days=0", "no number above 0"),
        ("?keep_days=1e9", "no number above 0 and up to 36500"),
        ("?most_bytes=many", "no number above 0"),
        ("?colour=red&most_bytes=1", "unknown option colour"),
        ("?most_bytes=1&most_bytes=2", "given twice"),
    ],
)
def test_wrong_options_are_refused(path: Path, options: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        open_sink(f"jsonl:{path}{options}")
    assert not path.exists()


def test_a_path_must_be_given() -> None:
    with pytest.raises(ConfigError, match="names no path"):
        open_sink("jsonl:?what=det")


@pytest.mark.parametrize("where", [".", "/", "missing/found"])
def test_a_path_that_no_file_can_have_is_told(tmp_path: Path, where: str) -> None:
    with pytest.raises(SinkError):
        open_sink(f"jsonl:{tmp_path / where}")


def test_two_do_not_write_to_one_file(path: Path) -> None:
    with closing(LinesSink(path)), pytest.raises(SinkError, match="another process writes"):
        LinesSink(path)
    LinesSink(path).close()
