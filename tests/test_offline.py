"""A search of files: what it writes, and that nothing is lost however it ends."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from mlppa.classify.card import ONNX, file_sha256
from mlppa.config import Config, checked
from mlppa.disk import write_whole
from mlppa.errors import ConfigError, ModelError, SinkError
from mlppa.formats.sigproc import pack_header
from mlppa.offline import Search, run_key, stream_name
from mlppa.simulate import Pulse, Sky, match, write_filterbank
from mlppa.sinks.journal import Journal
from mlppa.sinks.reader import JournalReader
from mlppa.wire import DetectionMessage, decode, message_id

from . import stand_in
from .skies import HEADER, SKY, recorded

ROOT = Path(__file__).parents[1]

#: How often to kill; more by hand: ``MLPPA_KILLS=50 pytest tests/test_offline.py -k kill``.
KILLS = int(os.environ.get("MLPPA_KILLS", "3"))

SETTINGS = {"dm_max": 500.0, "threshold": 7.0, "width_max_ms": 60.0}

#: Long enough to be killed in the middle.
LONG = Sky(
    header=HEADER,
    nsamples=40_000,
    pulses=tuple(
        Pulse(time_s=1.5 + 3.7 * i, dm=50.0 + 35 * i, width_ms=4.0, snr=25.0) for i in range(10)
    ),
    seed=9,
)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a formula stand in for the network."""
    monkeypatch.setattr("mlppa.offline.load_model", stand_in.load_model)


@pytest.fixture
def sky_file(tmp_path: Path) -> Path:
    path = tmp_path / "sky.fil"
    write_filterbank(SKY, path)
    return path


def configure(files: list[Path], output: Path, **sections: dict[str, Any]) -> Config:
    content = {
        "stream": "test",
        "input": [str(file) for file in files],
        "output": output,
        "search": SETTINGS | sections.pop("search", {}),
        **sections,
    }
    return checked(Config, content, "test")


def search(files: list[Path], output: Path, **sections: dict[str, Any]) -> Search:
    found = Search(configure(files, output, **sections))
    for _ in found.run():
        pass
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def results(folder: Path, *ignored: str) -> list[dict[str, Any]]:
    """Read all candidates, without what differs between two runs on the same data."""
    assert {x["id"] for x in lines(folder / "detections.jsonl")} == {
        x["id"] for x in lines(folder / "candidates.jsonl") if x["label"] == "pulse"
    }
    left_out = {"created", *ignored}
    return [
        {key: value for key, value in line.items() if key not in left_out}
        for line in lines(folder / "candidates.jsonl")
    ]


@pytest.mark.usefixtures("quick")
def test_the_output_folder_holds_all_results(sky_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = search([sky_file], out)
    messages = [
        decode(line.encode()) for line in (out / "detections.jsonl").read_text().splitlines()
    ]
    assert messages == found.detections
    assert [m.dm for m in found.detections] == pytest.approx([p.dm for p in SKY.pulses], abs=8)
    assert {m.stream for m in found.detections} == {"test"}
    for message in found.detections:
        assert message.latency_s is None
        assert (out / str(message.image)).read_bytes().startswith(b"\x89PNG")
    assert len(list(out.glob("*.png"))) == len(messages)
    assert not list(out.glob("*.part"))

    summary = json.loads((out / "summary.json").read_text())
    assert summary == found.summary
    assert summary["data_seconds"] == pytest.approx(SKY.nsamples * HEADER.tsamp_s)
    assert summary["real_time_factor"] == pytest.approx(
        summary["data_seconds"] / summary["wall_seconds"]
    )
    assert summary["samples"] == summary["samples_searched"] == SKY.nsamples
    assert summary["samples_masked"] == summary["samples_missing"] == summary["samples_shed"] == 0
    assert summary["detections"] == len(SKY.pulses)
    assert not summary["stopped"]
    assert 50e6 < summary["peak_memory_bytes"] < 4e9
    # the threads overlap: each of them fits in the wall time, pictures come behind
    seconds = dict(summary["stage_seconds"])
    assert seconds.pop("plot") > 0
    ahead = seconds.pop("read") + seconds.pop("clean")
    beside = seconds.pop("wait") + seconds.pop("screen")
    assert max(ahead, beside, sum(seconds.values())) <= summary["wall_seconds"] + 0.01


@pytest.mark.usefixtures("quick")
def test_an_empty_sky_gives_empty_files(tmp_path: Path) -> None:
    path, out = tmp_path / "noise.fil", tmp_path / "out"
    write_filterbank(Sky(header=HEADER, nsamples=3000, seed=1), path)
    found = search([path], out)
    assert (out / "detections.jsonl").read_bytes() == b""
    assert (out / "candidates.jsonl").read_bytes() == b""
    assert found.summary["detections"] == found.summary["candidates"] == 0
    with JournalReader(out / "journal.sqlite") as journal:
        coverage = list(journal.coverage())
    assert coverage[-1].decided_to == 3000, "that nothing was found is told all the same"


def write_part(path: Path, start: int, stop: int) -> Path:
    header = replace(HEADER, tstart_mjd=HEADER.mjd(start * HEADER.tsamp_s))
    path.write_bytes(pack_header(header) + recorded(SKY).spectra[start:stop].tobytes())
    return path


@pytest.mark.usefixtures("quick")
def test_files_that_continue_each_other_are_one_observation(sky_file: Path, tmp_path: Path) -> None:
    search([sky_file], tmp_path / "whole")
    # one cut goes through a pulse, and the order of the names is not that of time
    edges = [0, 2210, 4000, SKY.nsamples]
    parts = [
        write_part(tmp_path / f"{name}.fil", edges[i], edges[i + 1]) for i, name in enumerate("cab")
    ]
    found = search(sorted(parts), tmp_path / "parts")
    assert results(tmp_path / "parts") == results(tmp_path / "whole")
    assert found.summary["samples_missing"] == 0


@pytest.mark.usefixtures("quick")
def test_what_lies_between_two_files_is_missing(tmp_path: Path) -> None:
    parts = [
        write_part(tmp_path / "a.fil", 0, 3000),
        write_part(tmp_path / "b.fil", 3300, SKY.nsamples),
    ]
    found = search(parts, tmp_path / "out")
    assert found.summary["samples_missing"] == 300
    assert found.summary["samples_searched"] == SKY.nsamples - 300
    assert found.detections[-1].time_s == pytest.approx(SKY.pulses[-1].time_s, abs=0.01)


@pytest.mark.usefixtures("quick")
def test_the_same_again_is_neither_sent_nor_numbered_again(
    sky_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    search([sky_file], out)
    before = {name: (out / name).read_bytes() for name in ("detections.jsonl", "candidates.jsonl")}
    with JournalReader(out / "journal.sqlite") as journal:
        next_seq = journal.next_seq
    search([sky_file], out)
    assert {name: (out / name).read_bytes() for name in before} == before
    with JournalReader(out / "journal.sqlite") as journal:
        assert journal.next_seq == next_seq
    assert not caplog.records


@pytest.mark.usefixtures("quick")
def test_other_settings_replace_what_was_found(
    sky_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    first = search([sky_file], out)
    second = search([sky_file], out, search={"threshold": 17.0})
    assert "another run begins" in caplog.text
    assert 0 < second.summary["detections"] < first.summary["detections"]
    assert min(m.seq or 0 for m in second.detections) > max(m.seq or 0 for m in first.detections)
    assert lines(out / "detections.jsonl") == [
        m.model_dump(by_alias=True) for m in second.detections
    ]


@pytest.mark.usefixtures("quick")
def test_old_results_are_gone_before_new_ones_come(sky_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    search([sky_file], out)
    again = Search(configure([sky_file], out, search={"threshold": 8.0})).run()
    next(again)
    assert not (out / "detections.jsonl").exists()
    assert not (out / "summary.json").exists()
    again.close()  # type: ignore[attr-defined]


def key(files: list[Path], **sections: dict[str, Any]) -> str:
    output = sections.pop("output", {}).get("path", files[0].parent / "x")
    found = Search(configure(files, output, **sections))
    return run_key(found.config, found.origin)


def test_only_what_changes_results_makes_another_run(sky_file: Path, tmp_path: Path) -> None:
    same = key([sky_file])
    assert key([sky_file], search={"threads": 7}) == same
    assert key([sky_file], publish={"linger_s": 3.0}) == same
    assert key([sky_file], output={"path": tmp_path / "elsewhere"}) == same
    others = {
        key([sky_file], search={"threshold": 8.0}),
        key([sky_file], search={"mask": False}),
        key([sky_file], classify={"min_probability": 0.6}),
        key([sky_file], publish={"images": False}),
        key([write_part(tmp_path / "a.fil", 0, 3000)]),
    }
    assert len(others - {same}) == 5
    os.utime(sky_file, (1, 1))
    assert key([sky_file]) != same, "written anew"


def test_a_name_for_every_file() -> None:
    assert stream_name("/data/FRB 2018 (beam 3).fil") == "FRB_2018_beam_3_"
    assert stream_name("/data/" + 80 * "x" + ".fil") == 64 * "x"


def test_what_is_wrong_is_found_before_a_sample_is_read(sky_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model"):
        Search(configure([sky_file], tmp_path / "out", classify={"model": "nope"}))
    with pytest.raises(ConfigError, match=r"search\.dm_max: .* shorter than a sample"):
        Search(configure([sky_file], tmp_path / "out", search={"dm_max": 1e-3}))
    with pytest.raises(SinkError, match="another output folder"):
        Search(configure([sky_file], sky_file / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("quick")
def test_results_that_cannot_be_written_are_an_error(sky_file: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "summary.json").mkdir(parents=True)
    with pytest.raises(SinkError, match=r"summary\.json"):
        search([sky_file], tmp_path / "out")


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    (tmp_path / "d").mkdir()
    with pytest.raises(SinkError):
        write_whole(tmp_path / "d", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("nsamples", "said"),
    [
        (3000, "nothing could be searched: all 3000 samples are masked (constant, saturated or"),
        (10, "nothing could be searched: all 10 samples are masked (fewer than 64 do not tell"),
    ],
)
def test_masked_data_are_told(nsamples: int, said: str, tmp_path: Path) -> None:
    path = tmp_path / "dead.fil"
    path.write_bytes(pack_header(HEADER) + bytes([7]) * (nsamples * HEADER.nchans))
    found = search([path], tmp_path / "out")
    assert found.summary["samples_masked"] == nsamples
    assert found.summary["samples_searched"] == 0
    assert found.left_out is not None
    assert found.left_out.startswith(f"{path}: {said}")


# One sky, recorded in every way, through the true network.

FEW = replace(
    SKY,
    nsamples=7200,
    # less than a sigma in every sample, so that few levels do not saturate
    pulses=(
        Pulse(time_s=0.8, dm=120.0, width_ms=14.0, snr=20.0),
        Pulse(time_s=2.5, dm=400.0, width_ms=16.0, snr=18.0),
        Pulse(time_s=4.0, dm=250.0, width_ms=20.0, snr=22.0),
        Pulse(time_s=5.5, dm=330.0, width_ms=18.0, snr=19.0),
    ),
)


@cache
def reference(folder: Path) -> list[DetectionMessage]:
    write_filterbank(FEW, folder / "reference.fil")
    return search([folder / "reference.fil"], folder / "reference").detections


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("nbits", [1, 2, 4, 8, 16, 32])
def test_the_same_sky_gives_the_same_detections(
    nbits: int, ascending: bool, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    expected = reference(tmp_path_factory.getbasetemp())
    header = replace(HEADER, nbits=nbits)
    if ascending:
        header = replace(header, fch1_mhz=HEADER.f_lo_mhz, foff_mhz=-HEADER.foff_mhz)
    path = tmp_path / "sky.fil"
    write_filterbank(replace(FEW, header=header), path)
    detections = search([path], tmp_path / "out", publish={"images": False}).detections
    # 1 bit keeps sqrt(2 / pi) of the S/N, 2 bits at these levels 0.94
    kept = {1: 0.80, 2: 0.94}.get(nbits, 1.0)
    assert len(detections) == len(expected) == len(FEW.pulses)
    ratios = [one.snr / other.snr for one, other in zip(detections, expected, strict=True)]
    assert np.mean(ratios) == pytest.approx(kept, abs=0.05)
    for one, other in zip(detections, expected, strict=True):
        assert one.time_s == pytest.approx(other.time_s, abs=0.3e-3 * other.width_ms)
        assert one.dm == pytest.approx(other.dm, abs=4 * (one.dm_err + other.dm_err))
        assert one.probability > 0.5
    pairs, rest = match(FEW.pulses, detections, header)
    assert rest == []
    assert all(found is not None for _, found in pairs)


# Ends that nobody planned.


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.fil"
    write_filterbank(LONG, path)
    return path


@pytest.fixture(scope="module")
def undisturbed(long_file: Path) -> Path:
    """Results of a run that nothing happened to."""
    folder = long_file.parent / "undisturbed"
    process = start(long_file, folder)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return folder


def start(file: Path, folder: Path, *options: str) -> subprocess.Popen[str]:
    fixed = ("--stream", "test", "--dm-max", "500", "--quiet")
    command = [sys.executable, "-m", "tests.stand_in", "search", str(file), "-o", str(folder)]
    return subprocess.Popen(
        [*command, *fixed, *options], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def next_seq(folder: Path) -> int:
    try:
        with JournalReader(folder / "journal.sqlite") as journal:
            return journal.next_seq
    except SinkError:
        return 1  # not yet there


def wait_for_progress(folder: Path, process: subprocess.Popen[str], past: int) -> None:
    while process.poll() is None and next_seq(folder) <= past:
        time.sleep(0.01)


class Ear:
    """Hears all messages of an endpoint in a thread, as (seq, id)."""

    def __init__(self, endpoint: str) -> None:
        self.heard: list[tuple[int, str]] = []
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.subscribe(b"")
        self._socket.connect(endpoint)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        with self._socket:
            try:
                while True:
                    message = decode(self._socket.recv_multipart()[1])
                    self.heard.append((message.seq or 0, message_id(message)))
            except zmq.ContextTerminated:
                pass

    def close(self) -> None:
        self._context.term()
        self._thread.join()


@pytest.fixture
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"ipc://{tmp_path_factory.mktemp('z')}/pub"


@pytest.fixture
def ear(endpoint: str) -> Iterator[Ear]:
    ear = Ear(endpoint)
    yield ear
    ear.close()


def test_nothing_is_lost_when_killed(
    long_file: Path, undisturbed: Path, tmp_path: Path, ear: Ear, endpoint: str
) -> None:
    rng = random.Random()
    folder = tmp_path / "out"
    killed = 0
    for _ in range(KILLS):
        process = start(long_file, folder, "--publish", endpoint)
        wait_for_progress(folder, process, next_seq(folder))
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        process.communicate()
        assert not (folder / "summary.json").exists() or killed < KILLS
    assert killed > 0, "every run had ended before it was killed: the sky is too short"

    process = start(long_file, folder, "--publish", endpoint)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    assert results(folder) == results(undisturbed)
    assert [p.name for p in sorted(folder.glob("*.png"))] == [
        p.name for p in sorted(undisturbed.glob("*.png"))
    ]
    with JournalReader(folder / "journal.sqlite") as journal:
        kept = {seq: message_id(decode(body)) for seq, body in journal.since(0, 10_000)}
    assert sorted(kept) == list(range(1, len(kept) + 1))
    assert len(set(kept.values())) == len(kept)
    assert len(ear.heard) > 10
    assert set(ear.heard) <= set(kept.items()), "who heard a message finds it in the journal"


def test_a_terminated_search_drains_and_the_next_one_begins_anew(
    long_file: Path, undisturbed: Path, tmp_path: Path, ear: Ear, endpoint: str
) -> None:
    folder = tmp_path / "out"
    process = start(long_file, folder, "--publish", endpoint)
    wait_for_progress(folder, process, 4)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 143, said
    assert said.startswith("mlppa: WARNING: stopped after ")
    assert len(said.splitlines()) == 1
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["stopped"]
    assert summary["samples"] < LONG.nsamples
    with JournalReader(folder / "journal.sqlite") as journal:
        coverage = list(journal.coverage())
        assert lines(folder / "detections.jsonl") == [
            m.model_dump(by_alias=True) for m in journal.detections()
        ]
    assert coverage[-1].decided_to == coverage[-1].stop == summary["samples"], "it drained"

    process = start(long_file, folder)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "another run begins" in said
    assert results(folder, "seq") == results(undisturbed, "seq")


def test_lingering_ends_when_told(long_file: Path, tmp_path: Path, endpoint: str) -> None:
    folder = tmp_path / "out"
    begin = write_part(tmp_path / "short.fil", 0, 3000)
    process = start(begin, folder, "--publish", endpoint, "--linger-s", "3600")
    while not (folder / "summary.json").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    time.sleep(0.2)
    assert process.poll() is None, "it lingers"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (0, "")
    assert not json.loads((folder / "summary.json").read_text())["stopped"], "it was complete"


@pytest.mark.usefixtures("quick")
def test_pictures_hold_nothing_up(
    sky_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is journalled while the first picture is still being drawn."""
    out = tmp_path / "out"

    def draw(*_: object) -> None:
        deadline = time.monotonic() + 20
        while not last_word(out) and time.monotonic() < deadline:
            time.sleep(0.01)

    monkeypatch.setattr("mlppa.plots.plot_detection", draw)
    reports = Search(configure([sky_file], out)).run()
    next(report for report in reports if report.detections)
    assert last_word(out)
    reports.close()  # type: ignore[attr-defined]


def last_word(folder: Path) -> bool:
    with JournalReader(folder / "journal.sqlite") as journal:
        return any(c.decided_to == SKY.nsamples for c in journal.coverage())


def threads() -> list[str]:
    """Give the threads of a search."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name in ("publish", "clean", "screened")]


@pytest.mark.usefixtures("quick")
def test_a_picture_that_cannot_be_drawn_ends_the_search(
    sky_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise SinkError("a.png", "the disk is full", "make room")

    monkeypatch.setattr("mlppa.plots.plot_detection", fail)
    with pytest.raises(SinkError, match="disk is full"):
        search([sky_file], tmp_path / "out")
    assert not threads()


@pytest.mark.usefixtures("quick")
def test_a_journal_that_fails_ends_the_search_at_once(
    long_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise SinkError("journal.sqlite", "the disk is full", "make room")

    monkeypatch.setattr(Journal, "record", fail)
    with pytest.raises(SinkError, match="disk is full") as caught:
        search([long_file], tmp_path / "out")
    # though the error, and with it every stage, is still held
    assert not threads()
    assert caught.value.cause == "the disk is full"
    assert not caplog.records


@pytest.mark.usefixtures("quick")
def test_no_two_searches_write_to_one_folder(sky_file: Path, tmp_path: Path) -> None:
    first = Search(configure([sky_file], tmp_path / "out")).run()
    next(first)
    with pytest.raises(SinkError, match="another process"):
        search([sky_file], tmp_path / "out")
    assert sum(1 for _ in first) > 0
    assert (tmp_path / "out" / "summary.json").exists()


def test_the_model_named_by_messages_is_the_one_that_decides(
    sky_file: Path, tmp_path: Path
) -> None:
    """A copy of a model: its messages bear the name of its folder, and the digest of its file."""
    folder = tmp_path / "other"
    shutil.copytree(ROOT / "models" / "spine-64", folder)
    found = search([sky_file], tmp_path / "out", classify={"model": str(folder)})
    named = {(m.model, m.model_sha256) for m in found.detections}
    assert named == {("other", file_sha256(folder / ONNX))}
    assert found.summary["model"] == "other"
