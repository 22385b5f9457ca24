"""The pages say what is so: tables are whole, links lead somewhere, commands do what they say."""

import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.metrics import MetricWrapperBase

from mlppa import errors, metrics
from mlppa.cli import BUG
from mlppa.config import ClassifySettings, SearchSettings
from mlppa.dispersion import K_DM
from mlppa.formats.lists import K_HEIMDALL, K_TRANSIENTX
from mlppa.formats.sigproc import pack_header, read_header
from mlppa.sinks import Sink
from mlppa.sinks.journal import Journal
from mlppa.sinks.reader import JournalReader
from mlppa.sources import Source
from mlppa.wire import decode

from .messages import detection_message
from .skies import HEADER, plan_for
from .test_floors import FILES, FLOOR, room_of

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DEPLOY = DOCS.parent / "deploy"
OPERATIONS = (DOCS / "operations.md").read_text()
TUTORIALS = ("search", "detection", "listen", "lists")
PORTS = ("5757", "5758", "7150", "9177")


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next of the same rank or a higher one."""
    rank = heading.split(" ")[0]
    _, _, rest = page.partition(f"\n{heading}\n")
    assert rest, f"there is no {heading!r}"
    return re.split(rf"\n#{{1,{len(rank)}}} ", rest)[0]


def first_cells(text: str) -> list[str]:
    """First cells of all table rows, without their heads."""
    cells = re.findall(r"^\| *([^|]*?) *\|", text, re.MULTILINE)
    return [c for i, c in enumerate(cells) if c.strip("-") and cells[i + 1 : i + 2] != ["---"]]


def names(cells: list[str]) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", " ".join(cells))


def blocks(page: str, *languages: str) -> Iterator[tuple[str, str]]:
    """Give the fenced blocks of a page that are in one of the languages."""
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if language in languages:
            yield language, text


def exported(metric: MetricWrapperBase) -> str:
    """Name of a metric as Prometheus sees it, with its labels."""
    (family,) = metric.describe()
    labels = ",".join(metric._labelnames)
    name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
    return name + (f"{{{labels}}}" if labels else "")


def test_every_metric_is_explained() -> None:
    declared = [exported(m) for m in vars(metrics).values() if isinstance(m, MetricWrapperBase)]
    assert len(declared) > 10
    assert names(first_cells(section(OPERATIONS, "## Metrics"))) == declared


def test_every_stage_is_explained() -> None:
    stages = names(first_cells(section(OPERATIONS, "### Where the time goes")))
    assert tuple(stages) == metrics.STAGES


def test_every_exit_code_is_explained() -> None:
    raised = [e for e in vars(errors).values() if isinstance(e, type)]
    codes = {e.exit_code for e in raised if issubclass(e, errors.MlppaError)}
    rows = first_cells(section(OPERATIONS, "## Exit codes"))
    stops = {128 + number for number in (signal.SIGINT, signal.SIGTERM)}
    assert {int(code) for row in rows for code in row.split(",")} == codes | {0, BUG} | stops


def test_the_floors_are_those_of_the_house() -> None:
    page = section((DOCS / "architecture.md").read_text(), "## The floors")
    rows = re.findall(r"^\| (\d) \| ([^|]+) \|", page, re.MULTILINE)
    told = {room: int(floor) for floor, rooms in rows for room in names([rooms])}
    assert told == {room: FLOOR[room] for room in map(room_of, FILES)}


def test_every_command_is_listed() -> None:
    from typer.main import get_command

    from mlppa.cli import app

    group: Any = get_command(app)
    listed = names(first_cells(section((DOCS / "quickstart.md").read_text(), "## The commands")))
    words = [line.split()[1:3] for line in listed]
    for name, command in group.commands.items():
        if inner := getattr(command, "commands", None):
            assert all([name, sub] in words for sub in inner), f"mlppa {name}: {list(inner)}"
        else:
            assert name in [word[0] for word in words], f"mlppa {name}"


def test_every_line_of_the_plan_is_explained() -> None:
    page = section((DOCS / "configuration.md").read_text(), "## What it becomes")
    plan = plan_for(HEADER).describe()
    assert names(first_cells(page)) == list(plan)


def test_defaults_are_those_of_the_configuration() -> None:
    page = section(
        (DOCS / "tutorials" / "search.md").read_text(), "## When the defaults do not fit"
    )
    stated = dict(re.findall(r"^\| `--([a-z-]+)` \| ([0-9.]+) \|", page, re.MULTILINE))
    defaults = SearchSettings().model_dump() | ClassifySettings().model_dump()
    assert len(stated) == 4
    assert {k: float(v) for k, v in stated.items()} == {
        k: defaults[k.replace("-", "_")] for k in stated
    }


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text()):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_no_page_names_a_path_of_some_machine() -> None:
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        assert not re.search(r"/(?:root|home|tmp|work)/", page.read_text()), page


@pytest.fixture(scope="module")
def examples() -> dict[str, Any]:
    """What the code on the page about sources and sinks defines."""
    defined: dict[str, Any] = {}
    for _, text in blocks((DOCS / "sources.md").read_text(), "python"):
        exec(text, defined)
    return defined


def test_the_source_of_the_page_is_one(examples: dict[str, Any]) -> None:
    source: Source = examples["Noise"](["noise:16"])
    pieces = list(source.blocks())
    assert [p.start for p in pieces[1:]] == [p.stop for p in pieces[:-1]]
    assert pieces[-1].stop == source.nsamples
    assert np.ptp([p.spectra.shape[1] for p in pieces]) == 0
    source.close()
    assert list(source.blocks()) == []


def test_the_sink_of_the_page_is_one(examples: dict[str, Any], tmp_path: Path) -> None:
    sink: Sink = examples["LinesSink"](f"lines:{tmp_path}/out.jsonl")
    sample = (ROOT / "tests" / "golden" / "detection-1-pulse.json").read_bytes()
    sink.send(decode(sample))
    sink.close()
    written = (tmp_path / "out.jsonl").read_bytes()
    assert decode(written) == decode(sample)
    with pytest.raises(errors.SinkError):
        examples["LinesSink"](f"lines:{tmp_path}/no folder/out.jsonl").send(decode(sample))


def test_the_journal_is_pruned_as_the_page_says(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    for run, samples in (("run 1", range(300)), ("run 2", range(3))):
        with Journal(path, "askap", run) as journal:
            journal.record(detection_message(sample=n * 1e3) for n in samples)
    before = path.stat().st_size
    ((_, text),) = blocks(section(OPERATIONS, "## The journal"), "sh")
    run_script(f"set -eu\n{text}", tmp_path)
    assert path.stat().st_size < before / 4
    with JournalReader(path) as reader:
        assert [seq for seq, _ in reader.since(0, 1000)] == [301, 302, 303]
    with Journal(path, "askap", "run 3") as journal:
        assert journal.next_seq == 304


def run_script(text: str, folder: Path) -> str:
    """Run a shell script with our Python first in the path; give what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        ["sh", "-c", text],
        cwd=folder,
        env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        try:
            said, faults = run.communicate(timeout=110)
        finally:
            # what it has left behind it: daemons, listeners
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == 0, f"{text}: {said}{faults}"
    return said


def free_ports(count: int) -> list[str]:
    """Give ports that nobody uses now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [str(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def script(tutorial: str) -> str:
    """Put the commands of a tutorial into one shell script."""
    page = (DOCS / "tutorials" / f"{tutorial}.md").read_text()
    parts = ["set -eu"]
    for language, text in blocks(page, "sh", "python"):
        parts.append(text if language == "sh" else f"python - <<'END'\n{text}END")
    return "\n".join(parts)


def follow(tutorial: str, folder: Path) -> str:
    """Do what a tutorial says, on ports that are free; give what it prints."""
    text = script(tutorial)
    for port, free in zip(PORTS, free_ports(len(PORTS)), strict=True):
        text = text.replace(port, free)
    return run_script(text, folder)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Follow all tutorials in one folder; give it, and what each printed."""
    folder = tmp_path_factory.mktemp("tutorials")
    said = {}
    for tutorial in TUTORIALS:
        said[tutorial] = follow(tutorial, folder)
    return folder, said


@pytest.mark.slow
@pytest.mark.timeout(360)
def test_the_tutorials_do_what_they_say(followed: tuple[Path, dict[str, str]]) -> None:
    folder, said = followed
    truth = (folder / "sky.fil.truth.jsonl").read_text().splitlines()
    assert "5 detections" in said["search"]
    assert "additions_per_s" in said["search"]
    ((_, quoted),) = blocks((DOCS / "tutorials" / "search.md").read_text(), "json")
    first = json.loads(truth[0])
    for key, value in json.loads(quoted).items():
        assert first[key] == (value if isinstance(value, str) else pytest.approx(value, rel=5e-3))
    assert said["detection"].count("found with S/N") == len(truth) == 5
    assert "not found" not in said["detection"]
    heard = said["listen"].splitlines()
    assert sum(" PULSE at " in line for line in heard) == 5
    assert [int(n) for n in re.findall(r"^tutorial (\d+): ", said["listen"], re.MULTILINE)] == list(
        range(1, len([line for line in heard if line.startswith("tutorial ")]) + 1)
    )
    counts = json.loads((folder / "judged" / "agreement.json").read_text())
    assert {name: counts[name] for name in ("lines", "unread", "candidates", "confirmed")} == {
        "lines": 7,
        "unread": 1,
        "candidates": 6,
        "confirmed": 5,
    }
    assert (counts["both"], counts["additional"]) == (5, 0)
    assert "not to be read                                  1" in said["lists"]
    assert said["lists"].count(", both\n") == 5
    assert "lines 2, 7, both" in said["lists"]


@pytest.mark.slow
@pytest.mark.timeout(360)
def test_the_output_folder_is_explained(followed: tuple[Path, dict[str, str]]) -> None:
    found = followed[0] / "found"
    folder = section(OPERATIONS, "## The output folder")
    files = names(first_cells(folder.split("`summary.json`:")[0]))
    written = {f.name for f in found.iterdir() if f.suffix != ".png" and f.suffix != ".lock"}
    assert written == set(files) - {"ID.png"}
    keys = names(first_cells(folder.split("`summary.json`:")[1].split("\n### ")[0]))
    assert set(keys) == set(json.loads((found / "summary.json").read_text()))


@pytest.mark.slow
def test_tuning_shows_what_the_page_says(tmp_path: Path) -> None:
    said = follow("rfi", tmp_path)
    page = (DOCS / "tutorials" / "rfi.md").read_text()
    kept = "(\\d+) of 12 pulses, (\\d+) false"
    searched = [(int(found), int(false)) for found, false in re.findall(f"^{kept}", said, re.M)]
    # figures that differ by more than a few are to be measured again
    for (found, false), (told, more) in zip(searched, [(11, 0), (11, 2), (9, 1)], strict=True):
        assert abs(found - told) <= 1, said
        assert abs(false - more) <= 1, said
    assert re.search(r"S/N 16.6 put in; \d+ others near it,\none of them .*: zero-dm: S/N", said)
    rows = dict(re.findall(r"^\| `([a-z-]+: ?.*|pulse)` \| (\d+) \|", page, re.MULTILINE))
    counted = re.findall(r"^ +(\d+) (.+?) *$", said, re.MULTILINE)[: len(rows)]
    assert {reason: int(count) for count, reason in counted} == {
        reason: pytest.approx(int(count), rel=0.2, abs=3) for reason, count in rows.items()
    }


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_training_makes_a_model_that_works(tmp_path: Path) -> None:
    said = follow("train", tmp_path)
    assert {"card.json", "curves.png", "model.keras", "model.onnx", "recipe.toml"} == {
        file.name for file in (tmp_path / "tiny").iterdir()
    } - {"curves.csv"}
    card = json.loads((tmp_path / "tiny" / "card.json").read_text())
    page = (DOCS / "tutorials" / "train.md").read_text()
    told = names(first_cells(section(page, "## What is it?")))
    assert told == [key for key in told if key in card or key in card["metrics"]]
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert set(report["models"]) == {"tiny", "spine-64"}
    assert "results in by-tiny" in said
    assert json.loads((tmp_path / "by-tiny" / "summary.json").read_text())["model"] == "tiny"


@pytest.mark.slow
def test_a_replay_ends_with_what_was_not_sent(tmp_path: Path) -> None:
    said = follow("replay", tmp_path)
    assert "not sent: 41344 samples; missing: 42790, 1446 of them after the end" in said
    assert said.count(": found") == 6
    assert said.count(": not found") == 2
    heard = (tmp_path / "heard.txt").read_text()
    assert re.search(r"silent, .*\n(.*\n)*.* live, .*data come", heard)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_an_exercise_on_call_goes_as_it_should(tmp_path: Path) -> None:
    said = follow("oncall", tmp_path)
    assert '"well": true' in said
    assert '"state": "silent"' in said
    assert "\n503\n" in said
    for answer in ("'high' is not a number", "search.dm_max changed", "reloaded: thresholds"):
        assert answer in said
    assert "exit code 4\n" in said
    assert "exit code 0\n" in said
    assert "numbers without a hole" in said
    assert said.count("samples missing") >= 2, "the end of the night, and the kill"


def test_every_alert_has_its_place() -> None:
    page = (DOCS / "tutorials" / "oncall.md").read_text()
    listed = re.findall(r"^\| \[`(\w+)`\]\(#(\w+)\)", page, re.MULTILINE)
    headings = re.findall(r"^### (Mlppa\w+)$", page, re.MULTILINE)
    assert [name for name, _ in listed] == headings
    assert all(anchor == name.lower() for name, anchor in listed)
    rules = (DEPLOY / "prometheus" / "rules" / "alerts.yml").read_text()
    assert set(headings) == set(re.findall(r"- alert: (\w+)", rules))


def test_the_constants_of_the_questions() -> None:
    page = (DOCS / "faq.md").read_text()
    assert float(re.findall(r"^([0-9.e]+) MHz² pc", page, re.MULTILINE)[0]) == K_DM
    assert f"{K_TRANSIENTX:.3f}, heimdall {K_HEIMDALL:.0f}" in page
    assert f"500 is {500 * K_TRANSIENTX / K_DM:.3f} here" in page
    assert f"by {K_DM / K_TRANSIENTX:.6f} to" in page


def test_what_the_questions_quote_of_headers_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    header = replace(HEADER, nchans=256, foff_mhz=-1.0)
    whole = pack_header(header) + bytes(256 * 39061)
    start = whole.index(b"\x06\0\0\0tstart")
    end = whole.index(b"\x0a\0\0\0HEADER_END")
    odd = whole[:end] + b"\x09\0\0\0my_strang" + struct.pack("<d", 1.5) + whole[end:]
    path = tmp_path / "night.fil"
    for raw in (whole[:start] + whole[start + 18 :], odd, whole + bytes(156)):
        path.write_bytes(raw)
        read_header(path)
    said = [one.message.rpartition("/")[2] for one in caplog.records]
    page = (DOCS / "faq.md").read_text()
    assert re.findall("^mlppa: WARNING: (.*)$", page, re.MULTILINE) == said
