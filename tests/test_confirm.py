"""The command that judges lists: files, bad input, and lists that grow while it runs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq

from mlppa.data import Listed
from mlppa.dispersion import K_DM
from mlppa.formats.lists import K_TRANSIENTX, Flaw
from mlppa.simulate import Pulse, Sky, write_filterbank
from mlppa.sources.transientx import POLL_S, Follower
from mlppa.wire import DetectionMessage, decode

from .calling import Call
from .skies import HEADER, PULSES, SKY

#: A detection is out so long after its line was written, at most.
PROMPT_S = 2.0
STARTING_S = 90.0


def line_of(pulse: Pulse, *, number: int = 1, file: str = "sky.fil", late_s: float = 0.0) -> str:
    """Write a pulse as TransientX does."""
    fields = (
        *("cfbf00000", number, f"{HEADER.mjd(pulse.time_s + late_s):.15f}"),
        *(f"{pulse.dm * K_DM / K_TRANSIENTX:.2f}", f"{pulse.width_ms:.2f}", f"{pulse.snr:.1f}"),
        *(1500, 1185, f"sky_{number:02d}.png", "01", file),
    )
    return "\t".join(map(str, fields)) + "\n"


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pulses of the small sky, recorded."""
    path = tmp_path_factory.mktemp("sky") / "sky.fil"
    write_filterbank(SKY, path)
    return path


@pytest.fixture
def cands(sky: Path, tmp_path: Path) -> Path:
    """Every pulse in a list, one of them twice, and one that is nothing."""
    nothing = Pulse(time_s=6.4, dm=150.0, width_ms=4.0, snr=7.5)
    again = line_of(PULSES[2], number=7, late_s=3e-3).replace("\t1.00\t", "\t4.00\t")
    lines = [line_of(one, number=n) for n, one in enumerate((*PULSES, nothing), start=1)]
    path = tmp_path / "sky.cands"
    path.write_text("".join([*lines, again]))
    return path


def told(folder: Path, name: str = "candidates.jsonl") -> list[DetectionMessage]:
    messages = [decode(line) for line in (folder / name).read_bytes().splitlines()]
    return [one for one in messages if isinstance(one, DetectionMessage)]


@pytest.mark.parametrize("searching", ["--search", "--no-search"])
def test_a_list_is_judged(
    searching: str, call: Call, sky: Path, cands: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = call("classify", cands, "--data", sky, "-o", out, searching)
    assert ended.code == 0
    assert not ended.err
    every, pulses = told(out), told(out, "detections.jsonl")
    assert len(pulses) == len(PULSES)
    for message, pulse in zip(pulses, PULSES, strict=True):
        assert message.time_s == pytest.approx(pulse.time_s, abs=1.5e-3 * pulse.width_ms + 3e-3)
        assert message.proposed_by == ("both" if searching == "--search" else "list")
        assert message.judged_by == "data"
        assert message.image is not None
        assert (out / message.image).exists()
    assert sorted(len(one.listed) for one in pulses) == [1, 1, 1, 1, 2]
    (nothing,) = [one for one in every if one.listed and one.label == "rfi"]
    assert nothing.listed[0].line == 6
    assert nothing.reason is not None
    agreement = json.loads((out / "agreement.json").read_text())
    assert agreement["lines"] == 7
    assert (agreement["candidates"], agreement["confirmed"]) == (6, 5)
    assert agreement["additional"] == 0
    assert "not confirmed" in ended.out
    assert (out / "agreement.txt").read_text() in ended.out.replace("\r", "")
    for name in ("agreement.png", "disagreements.png", "summary.json"):
        assert (out / name).stat().st_size > 1000 or name == "summary.json"


def test_pulses_that_no_list_has_are_found_additionally(
    call: Call, sky: Path, tmp_path: Path
) -> None:
    path = tmp_path / "few.cands"
    path.write_text(line_of(PULSES[0]))
    assert call("classify", path, "--data", sky, "-o", tmp_path / "out", "-q").code == 0
    agreement = json.loads((tmp_path / "out" / "agreement.json").read_text())
    assert (agreement["both"], agreement["additional"]) == (1, len(PULSES) - 1)


def test_data_are_found_beside_the_list(call: Call, sky: Path, cands: Path) -> None:
    shutil.copy(sky, cands.parent)
    out = cands.parent / "out"
    assert call("classify", cands, "-o", out, "--quiet").code == 0
    assert len(told(out, "detections.jsonl")) == len(PULSES)


def test_lines_without_data_are_judged_by_the_list_and_say_so(call: Call, cands: Path) -> None:
    out = cands.parent / "out"
    assert call("classify", cands, "-o", out, "-q").code == 0
    every = told(out)
    assert len(every) == 6
    assert {one.judged_by for one in every} == {"list"}
    assert {one.model for one in every} == {"table-7"}
    assert all(one.partial and one.image is None for one in every)
    assert [one.mjd for one in every] == pytest.approx(
        sorted(one.listed[0].mjd for one in every), abs=1e-7
    )


def test_every_wrong_line_is_counted_and_named_and_the_rest_is_judged(
    call: Call, sky: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = [line_of(pulse, number=n) for n, pulse in enumerate(PULSES, start=1)]
    wrong = ["# a comment\n", "too few\tcolumns\n", good[1].replace(".00\t15.0\t", "\tfaint\t")]
    zero = good[2].replace("\t1.00\t", "\t0.00\t")
    text = "".join([good[0], *wrong, zero, *good[3:]]).replace("\n", "\r\n")
    path = tmp_path / "wild.cands"
    # appended twice, as a search that runs again does, and cut in the last line
    path.write_bytes((text + text).encode() + good[1][:40].encode())
    ended = call("classify", path, "--data", sky, "-o", tmp_path / "out", "--no-search")
    assert ended.code == 0
    assert f"{path}:3: 3 columns instead of 11; the line is left out" in caplog.text
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["agreement"]["repeated"] == 4
    assert summary["agreement"]["unread"] == 5
    assert summary["agreement"]["lines"] == 4
    assert summary["flaws"]["a width of 0 is taken for one sample"] == 2
    assert summary["flaws"]["3 columns instead of 11"] == 2
    assert len((tmp_path / "out" / "flaws.txt").read_text().splitlines()) == 7
    assert len(told(tmp_path / "out", "detections.jsonl")) == 4


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda path: None, "cannot be read"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: path.write_text("hello\nworld\n"), "no line is a candidate; line 1"),
        (lambda path: path.write_bytes(bytes(range(256)) * 50), "no line is a candidate"),
    ],
)
def test_what_is_no_list_is_refused(make: Any, cause: str, call: Call, tmp_path: Path) -> None:
    path = tmp_path / "a.cands"
    make(path)
    ended = call("classify", path, "-o", tmp_path / "out")
    assert ended.code == 3
    assert cause in ended.error


def test_bad_data_are_refused_where_they_are_given_and_told_where_they_are_found(
    call: Call, cands: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = cands.parent / "sky.fil"
    bad.write_bytes(b"no filterbank")
    ended = call("classify", cands, "--data", bad, "-o", cands.parent / "out")
    assert ended.code == 3
    ended = call("classify", cands, "-o", cands.parent / "out", "-q")
    assert ended.code == 0
    assert "candidates in it are judged by their lists alone" in caplog.text
    assert {one.judged_by for one in told(cands.parent / "out")} == {"list"}


def test_options_are_named_as_they_are_typed(call: Call, cands: Path, sky: Path) -> None:
    out = cands.parent / "out"
    assert "--list-model" not in call("classify", cands, "-o", out, "-q").err
    ended = call("classify", cands, "-o", out, "--data", sky, "--dm-max", "-1")
    assert (ended.code, "--dm-max" in ended.error) == (2, True)
    ended = call("classify", cands, "-o", out, "--list-model", "spine-64")
    assert (ended.code, "does not judge lists" in ended.error) == (4, True)
    ended = call("classify", cands, "transientx:///x*.cands", "-o", out)
    assert (ended.code, "stand alone" in ended.error) == (3, True)


def test_the_same_again_continues_the_same_run(call: Call, cands: Path, sky: Path) -> None:
    out = cands.parent / "out"
    words = ("classify", cands, "--data", sky, "-o", out, "-q", "--no-pictures")
    assert call(*words).code == 0
    first = (out / "detections.jsonl").read_bytes()
    ended = call(*words)
    assert (ended.code, ended.err) == (0, "")
    assert (out / "detections.jsonl").read_bytes() == first


def test_a_follower_reads_whole_lines_of_files_that_grow_turn_and_go(tmp_path: Path) -> None:
    first, second = tmp_path / "x_1.cands", tmp_path / "x_2.cands"
    follower = Follower(f"transientx://{tmp_path}/x*.cands")
    batches = follower.batches()

    def lines() -> list[int]:
        found = next(batches)
        assert all(isinstance(one, Listed) for one in found)
        return [one.line for one in found if isinstance(one, Listed)]

    assert lines() == []
    first.write_text(line_of(PULSES[0]) + line_of(PULSES[1])[:30])
    assert lines() == [1]
    assert lines() == []
    with first.open("a") as file:
        file.write(line_of(PULSES[1])[30:])
    second.write_text(line_of(PULSES[2]))
    assert lines() == [2, 1]
    # turned over: another file has taken the name
    first.rename(tmp_path / "old_1.cands")
    first.write_text(line_of(PULSES[3]) * 3)
    assert lines() == [1, 2, 3]
    # shorter than it was
    first.write_text(line_of(PULSES[4]))
    assert lines() == [1]
    second.unlink()
    assert lines() == []
    second.write_text(line_of(PULSES[2]) + "too few\n")
    found = next(batches)
    assert [isinstance(one, Flaw) for one in found] == [False, True]
    follower.close()
    assert list(batches) == []


@contextmanager
def following(pattern: Path, sky: Path, out: Path, port: str) -> Iterator[subprocess.Popen[str]]:
    words = [
        *(sys.executable, "-m", "tests.stand_in", "classify", f"transientx://{pattern}"),
        *("--data", str(sky), "-o", str(out), "--publish", port, "--quiet"),
    ]
    process = subprocess.Popen(words, text=True, cwd=Path(__file__).parents[1])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def detection_after(socket: zmq.Socket[bytes], within_s: float) -> DetectionMessage | None:
    """Wait for the next detection; coverage passes by."""
    until = time.monotonic() + within_s
    while (left := until - time.monotonic()) > 0:
        if socket.poll(int(1000 * left)):
            topic, body = socket.recv_multipart()
            if topic.startswith(b"det."):
                message = decode(body)
                assert isinstance(message, DetectionMessage)
                return message
    return None


def test_a_growing_list_is_judged_at_once_and_a_restart_neither_loses_nor_repeats(
    sky: Path, tmp_path: Path
) -> None:
    path, out, port = tmp_path / "sky.cands", tmp_path / "out", f"ipc://{tmp_path / 'port'}"
    path.write_text(line_of(PULSES[0], number=1))
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.subscribe(b"")
        socket.connect(port)
        with following(tmp_path / "sky*.cands", sky, out, port) as process:
            heard = detection_after(socket, STARTING_S)
            assert heard is not None or process.poll() is None
            # a subscriber may join too late for the first one
            for number in (1, 2):
                with path.open("a") as file:
                    line = line_of(PULSES[number], number=number + 1)
                    file.write(line[:25])
                    file.flush()
                    time.sleep(2 * POLL_S)
                    file.write(line[25:])
                message = detection_after(socket, PROMPT_S)
                assert message is not None
                assert message.listed[0].line == number + 1
                last = message.seq
            process.send_signal(signal.SIGKILL)
            process.wait()
        # while nobody looks: another line of a pulse that is out, an old line, and a new one
        with path.open("a") as file:
            file.write(line_of(PULSES[2], number=9, late_s=3e-3) + line_of(PULSES[1], number=2))
            file.write(line_of(PULSES[3], number=4))
        with following(tmp_path / "sky*.cands", sky, out, port) as process:
            message = detection_after(socket, STARTING_S)
            if message is not None and message.seq == last:
                # it was killed before it could note that this one was sent
                message = detection_after(socket, STARTING_S)
            assert message is not None
            assert message.listed[0].line == 6
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
    found = told(out, "detections.jsonl")
    assert sorted(one.listed[0].line for one in found) == [1, 2, 3, 6]
    # measured to the same, it is the same; else it says of what it is a repeat
    for one in told(out):
        if one.label == "rfi":
            assert one.listed[0].line == 4
            assert one.reason in {f"repeat: of {pulse.id}" for pulse in found}
    assert len({one.id for one in found}) == 4
    assert len({one.seq for one in found}) == 4


def test_a_kill_in_the_middle_of_lists_loses_nothing(
    call: Call, sky: Path, cands: Path, tmp_path: Path
) -> None:
    expected = tmp_path / "expected"
    assert call("classify", cands, "--data", sky, "-o", expected, "-q").code == 0
    words = [
        *(sys.executable, "-m", "tests.stand_in", "classify", str(cands), "--data", str(sky)),
        *("-o", str(tmp_path / "killed"), "-q", "--stream", "sky"),
    ]
    house = Path(__file__).parents[1]
    with subprocess.Popen(words, cwd=house) as process:
        journal = tmp_path / "killed" / "journal.sqlite-wal"
        until = time.monotonic() + STARTING_S
        while not journal.exists() and time.monotonic() < until:
            time.sleep(0.01)
        process.kill()
    assert subprocess.run(words, cwd=house, check=False).returncode == 0
    one, other = (told(folder, "detections.jsonl") for folder in (expected, tmp_path / "killed"))
    assert [m.id for m in one] == [m.id for m in other]
    assert [m.listed for m in one] == [m.listed for m in other]


def test_a_data_file_of_another_time_holds_none_of_them(
    call: Call, cands: Path, tmp_path: Path
) -> None:
    path = tmp_path / "other.fil"
    header = replace(HEADER, tstart_mjd=HEADER.tstart_mjd + 3)
    write_filterbank(Sky(header=header, nsamples=4000, seed=1), path)
    assert call("classify", cands, "--data", path, "-o", tmp_path / "out", "-q").code == 0
    every = told(tmp_path / "out")
    assert {one.judged_by for one in every} == {"list"}
    assert all(one.partial for one in every)


def counted(folder: Path) -> tuple[int, int, int]:
    """Give the lines that are in some message, those said again, and those unread."""
    agreement = json.loads((folder / "agreement.json").read_text())
    listed = sum(len(one.listed) for one in told(folder))
    assert listed == agreement["lines"]
    return listed, agreement["repeated"], agreement["unread"]


def test_every_line_is_in_one_message_or_counted(call: Call, sky: Path, tmp_path: Path) -> None:
    """A pulse in two files of one beam has one name: the second is a repeat of the first."""
    twin = tmp_path / "twin.fil"
    shutil.copy(sky, twin)
    lines = [line_of(PULSES[2], file=str(sky)), line_of(PULSES[2], file=str(twin))]
    lines += [
        lines[0],
        "broken\n",
        line_of(PULSES[3], file="nowhere.fil").replace("60000", "50000"),
    ]
    path = tmp_path / "two.cands"
    path.write_text("".join(lines))
    assert call("classify", path, "-o", tmp_path / "out", "--no-search", "-q").code == 0
    assert counted(tmp_path / "out") == (3, 1, 1)
    by_label = {one.label: one for one in told(tmp_path / "out") if one.judged_by == "data"}
    assert by_label["rfi"].reason == f"repeat: of {by_label['pulse'].id}"
    assert by_label["rfi"].id == f"{by_label['pulse'].id}-r1"


@pytest.mark.parametrize("text", ["", "# nothing tonight\n\n"])
def test_a_quiet_night_is_no_error(text: str, call: Call, sky: Path, tmp_path: Path) -> None:
    path = tmp_path / "quiet.cands"
    path.write_text(text)
    out = tmp_path / "out"
    ended = call("classify", path, "-o", out)
    assert (ended.code, ended.err) == (0, "")
    assert counted(out) == (0, 0, 0)
    assert (out / "detections.jsonl").read_bytes() == b""
    assert call("classify", path, "--data", sky, "-o", out, "-q").code == 0
    assert json.loads((out / "agreement.json").read_text())["additional"] == len(PULSES)


def test_data_that_come_later_begin_another_run(
    call: Call, sky: Path, cands: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert call("classify", cands, "-o", out, "-q").code == 0
    assert {one.judged_by for one in told(out)} == {"list"}
    shutil.copy(sky, cands.parent)
    assert call("classify", cands, "-o", out, "-q").code == 0
    assert {one.judged_by for one in told(out)} == {"data"}
    assert counted(out)[0] == 7
    assert json.loads((out / "agreement.json").read_text())["searched"] is True


def test_data_of_another_band_are_not_taken(call: Call, cands: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.fil"
    write_filterbank(replace(SKY, header=replace(HEADER, fch1_mhz=800.0, foff_mhz=-1.0)), other)
    assert call("classify", cands, "--data", other, "-o", tmp_path / "out", "-q").code == 0
    assert {one.judged_by for one in told(tmp_path / "out") if one.listed} == {"list"}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a.cand", "9.1\t1602\t1e300\t1\t494\t475.388\t1\t1600\t1604"),
        ("a.singlepulse", "475.39 15.71 -1e300 1602 2"),
        ("a.cands", line_of(PULSES[1]).replace("1185", "1e-10")),
        ("a.cands", line_of(PULSES[1], file="x" * 300 + ".fil")),
        ("a.cands", line_of(PULSES[1]).replace("sky_01.png", ".")),
        ("a.cands", line_of(PULSES[1]).replace("sky_01.png", "p" * 300 + ".png")),
        ("a.csv", "mjd,dm\r60000,3\r"),
    ],
)
def test_one_odd_line_does_not_end_the_run(
    name: str, line: str, call: Call, sky: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(line)
    good = tmp_path / "good.cands"
    good.write_text(line_of(PULSES[0]))
    plain = ("--data", sky, "-o", tmp_path / "out", "-q", "--no-search")
    words = (*plain, "--images", "px")
    assert call("classify", good, path, *words).code in (0, 3)
    (tmp_path / "c.cands").write_text(line_of(PULSES[0]) + line)
    assert call("classify", tmp_path / "c.cands", *words).code == 0
    assert call("classify", tmp_path / "c.cands", *plain).code == 0


def test_a_list_that_is_written_anew_in_place_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.cands"
    follower = Follower(f"transientx://{path}")
    batches = follower.batches()
    path.write_text(line_of(PULSES[0]) + line_of(PULSES[1]))
    assert len(next(batches)) == 2
    # as long as it was and longer, at the same place on the disk
    path.write_text("".join(line_of(one) for one in PULSES[1:]))
    found = next(batches)
    assert [one.line for one in found] == [1, 2, 3, 4]
    # what is written to it until it goes is not lost, not even a line without an end
    with path.open("a") as file:
        file.write(line_of(PULSES[0]))
    assert [one.line for one in next(batches)] == [5]
    with path.open("a") as file:
        file.write(line_of(PULSES[0]) + line_of(PULSES[1]).rstrip())
    path.unlink()
    assert [one.line for one in next(batches)] == [6, 7]
    follower.close()


def test_what_cannot_be_followed_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "pipe.cands")
    (tmp_path / "folder.cands").mkdir()
    follower = Follower(f"transientx://{tmp_path}/*.cands")
    batches = follower.batches()
    assert [next(batches) for _ in range(3)] == [[]] * 3
    told_of = [one.getMessage() for one in caplog.records]
    assert len(told_of) == 2
    assert all(any(name in one for one in told_of) for name in ("folder.cands", "pipe.cands"))
    follower.close()


def test_absurd_widths_cost_nothing(call: Call, sky: Path, tmp_path: Path) -> None:
    path = tmp_path / "wide.cand"
    path.write_text("9.1\t3600\t3.6\t24\t494\t210.0\t1\t3500\t3700\n")
    began = time.monotonic()
    assert call("classify", path, "--data", sky, "-o", tmp_path / "out", "-q").code == 0
    assert time.monotonic() - began < 60
    assert counted(tmp_path / "out") == (1, 0, 0)


def test_data_that_go_away_do_not_end_what_follows_lists(
    call: Call, sky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, path, out = tmp_path / "d.fil", tmp_path / "d.cands", tmp_path / "out"
    shutil.copy(sky, data)
    path.write_text(line_of(PULSES[0], file="-"))
    looks = Follower.batches

    def batches(self: Follower) -> Iterator[list[Listed | Flaw]]:
        for number, found in enumerate(looks(self)):
            yield found
            if number == 0:
                data.unlink(missing_ok=True)
                with path.open("a") as file:
                    file.write(line_of(PULSES[1], file="-"))
            elif number == 2:
                self.close()

    monkeypatch.setattr(Follower, "batches", batches)
    words = ("classify", f"transientx://{path}", "--data", data, "-o", out, "-q")
    assert call(*words).code == 0
    assert [one.judged_by for one in told(out)] == ["data", "list"]
    # nor are they needed to begin
    assert call(*words).code == 0
    assert counted(out)[0] == 2


def test_what_is_odd_about_the_data_is_told_once(
    call: Call, cands: Path, sky: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ragged = tmp_path / "sky.fil"
    ragged.write_bytes(sky.read_bytes()[:-20])
    for data in ((), ("--data", ragged)):
        caplog.clear()
        assert call("classify", cands, *data, "-o", tmp_path / "out", "-q", "--no-search").code == 0
        assert sum("are ignored" in one.getMessage() for one in caplog.records) == 1
