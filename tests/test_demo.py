"""The demo, as a stranger sees it first."""

import json
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlppa.cli import main
from mlppa.cli.search import follow
from mlppa.demo import HEADER, DemoResult, demo_sky, run_demo
from mlppa.errors import SinkError
from mlppa.listen import listen
from mlppa.offline import Search
from mlppa.results import JOURNAL
from mlppa.sinks.journal import Journal, remove_journal
from mlppa.sinks.reader import JournalReader
from mlppa.wire import Message

from . import stand_in

SECONDS = 12.0


def silently(search: Search) -> None:
    follow(search, lambda *_: None)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    """Run a short one with the network that comes with the program."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    return run_demo(folder, SECONDS, 1, silently)


@pytest.mark.slow
def test_the_demo_finds_what_it_put_in(demo: DemoResult) -> None:
    assert len(demo.pairs) == 6
    assert [pulse for pulse, found in demo.pairs if found is None] == []
    assert list(demo.false) == []
    assert demo.rejected > 0, "there was interference"
    assert demo.summary["samples"] == round(SECONDS / HEADER.tsamp_s)


@pytest.mark.slow
def test_a_subscriber_of_the_demo_receives_every_detection(demo: DemoResult) -> None:
    assert demo.received == demo.summary["detections"]
    assert not any(thread.name == "subscriber" for thread in threading.enumerate())


def test_a_subscriber_that_comes_late_receives_every_detection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It asks for what was sent before, and the search waits for it."""
    monkeypatch.setattr("mlppa.offline.load_model", stand_in.load_model)
    covered = threading.Event()

    def late(*args: Any, **kwargs: Any) -> Iterator[Message]:
        assert covered.wait(60)
        return listen(*args, **kwargs)

    def follow_to_the_end(search: Search) -> None:
        for report in search.run():
            if report.coverage.stop == search.source.nsamples:
                covered.set()

    monkeypatch.setattr("mlppa.demo.listen", late)
    result = run_demo(tmp_path, 6.0, 1, follow_to_the_end)
    assert result.received == result.summary["detections"] > 0
    assert not caplog.records


@pytest.mark.slow
def test_the_demo_begins_its_folder_anew(
    demo: DemoResult,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlppa.offline.load_model", stand_in.load_model)
    shutil.copytree(demo.folder, tmp_path / "out")
    again = run_demo(tmp_path / "out", 5.0, 2, silently)
    assert len(list(again.folder.glob("demo-*.png"))) == again.summary["detections"]
    with JournalReader(again.folder / JOURNAL) as journal:
        messages = journal.since(0, 1000)
        assert journal.next_seq - 1 == len(messages)
    stops = [json.loads(payload).get("stop_s", 0) for _, payload in messages]
    assert max(stops) < 6, "nothing of the run before it, which was longer"
    assert not caplog.records


def test_a_journal_of_others_stays(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    remove_journal(path, "demo")
    for stream in ("askap", "demo"):
        with Journal(path, stream, "run 1"):
            pass
        remove_journal(path, "demo")
        assert path.exists()
    path.write_text("something else")
    remove_journal(path, "demo")
    assert path.exists()
    with Journal(tmp_path / "mine", "demo", "run 1"):
        with pytest.raises(SinkError, match="another process"):
            remove_journal(tmp_path / "mine", "demo")
        assert (tmp_path / "mine").exists()
    remove_journal(tmp_path / "mine", "demo")
    assert [path.name for path in tmp_path.glob("mine*")] == ["mine.lock"]


@pytest.mark.slow
def test_the_demo_leaves_pictures_and_results(demo: DemoResult) -> None:
    assert demo.picture.read_bytes().startswith(b"\x89PNG")
    assert len(list(demo.folder.glob("demo-*.png"))) == demo.summary["detections"]
    assert (demo.folder / "detections.jsonl").exists()
    found = sum(1 for _, detection in demo.pairs if detection)
    assert demo.lines()[0].startswith(f"{found} of 6 pulses above S/N 8 found, ")


@pytest.mark.slow
def test_the_demo_as_json(demo: DemoResult) -> None:
    told = json.loads(json.dumps(demo.as_json(), allow_nan=False))
    assert len(told["pulses"]) == 6
    found = [pair for pair in told["pulses"] if pair["found"]]
    assert len(found) + len(told["false"]) == told["received"]
    for pair in found:
        assert pair["found"]["schema"] == "mlppa.detection/1"
        assert pair["put_in"]["time_s"] == pytest.approx(pair["found"]["time_s"], abs=0.05)


def test_the_same_seed_is_the_same_demo() -> None:
    assert demo_sky(10, 3) == demo_sky(10, 3)
    assert demo_sky(10, 3) != demo_sky(10, 4)
    sky = demo_sky(10, 3)
    assert len(sky.pulses) == 5
    assert len({item.kind for item in sky.interference}) > 3


def test_what_is_not_found_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network that never sees a pulse makes a demo that says so, and still ends well."""
    monkeypatch.setattr("mlppa.offline.load_model", stand_in.load_model)
    monkeypatch.setattr(stand_in, "brightness", lambda images, _: images[:, 0, 0] * 0)
    monkeypatch.setattr(sys, "argv", ["mlppa", "demo", "-o", str(tmp_path), "--seconds", "5"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "not found" in said
    assert "0 of 2 pulses above S/N 8 found, 0 false detections" in said
    assert "0 detections came in over ZeroMQ" in said
    assert (tmp_path / "found.png").exists()
