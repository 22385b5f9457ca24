"""The commands: what they print, how they end, and how soon."""

import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from mlppa import __version__
from mlppa.classify import model_card
from mlppa.config import Config, DaemonConfig, HeaderSettings
from mlppa.simulate import read_truth, write_filterbank

from .calling import Call, Ended
from .skies import HEADER, SKY

ROOT = Path(__file__).parents[1]
MLPPA = Path(sys.executable).with_name("mlppa")
EXAMPLE = ROOT / "deploy" / "examples" / "laptop.toml"
TELESCOPE = EXAMPLE.with_name("telescope.toml")


@pytest.fixture(scope="module")
def sky_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sky") / "sky.fil"
    write_filterbank(SKY, path)
    return path


QUICK = ("--dm-max", "500", "--width-max-ms", "60", "--threshold", "7")


# How soon, and what without a command.


def _cpu_s() -> float:
    """Time of finished child processes: on an idle machine the wall time, on a busy one fair."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("words", [["--help"], ["check", str(EXAMPLE), "--data", "SKY"]])
def test_help_and_check_answer_within_a_second(words: list[str], sky_file: Path) -> None:
    took = []
    for _ in range(3):
        began = _cpu_s()
        command = [str(MLPPA), *(str(sky_file) if word == "SKY" else word for word in words)]
        done = subprocess.run(command, capture_output=True, check=True)
        took.append(_cpu_s() - began)
        assert done.stdout
        assert done.stderr == b""
    assert min(took) < 1


def test_the_version(call: Call) -> None:
    assert call("--version") == Ended(0, f"{__version__}\n", "")


# What they print.


def test_search_tells_what_it_found(call: Call, sky_file: Path, tmp_path: Path) -> None:
    ended = call("search", sky_file, "-o", tmp_path / "out", *QUICK)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"{len(SKY.pulses)} detections\n")
    assert "8.2 s of data in " in ended.out
    for line in (tmp_path / "out" / "detections.jsonl").read_text().splitlines():
        assert f" {json.loads(line)['time_s']:.4f} " in ended.out
    again = call("search", sky_file, "-o", tmp_path / "out", "--json", *QUICK)
    assert again.out.count("\n") == 1
    assert json.loads(again.out) == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert call("search", sky_file, "-o", tmp_path / "out", "-q", *QUICK).out == ""


def test_options_reach_the_search(call: Call, sky_file: Path, tmp_path: Path) -> None:
    options = ("--threshold", "22", "--no-images", "--stream", "other", "--threads", "1")
    ended = call("search", sky_file, "-o", tmp_path, "--json", "--min-probability", "0", *options)
    summary = json.loads(ended.out)
    assert summary["stream"] == "other"
    assert 0 < summary["candidates"] == summary["detections"] < len(SKY.pulses)
    assert not list(tmp_path.glob("*.png"))


def test_check_prints_the_plan(call: Call, sky_file: Path) -> None:
    ended = call("check", EXAMPLE, "--data", sky_file)
    assert ended.code == 0
    for word in ("octave 0:", "rows", "noise_images_per_s", "memory_bytes", "budget_s"):
        assert word in ended.out
    told = json.loads(call("check", EXAMPLE, "--data", sky_file, "--json").out)
    assert (told["valid"], told["model"], told["reason"]) == (True, "spine-64", None)
    plan = told["plan"]
    assert plan["nchans"] == HEADER.nchans
    assert plan["dm_max"] >= 2000
    assert plan["budget_s"] == pytest.approx(plan["gulp_samples"] * plan["tsamp_s"])
    edges = [(o["dm_first"], o["dm_last"]) for o in plan["octaves"]]
    assert all(last >= first for (_, last), (first, _) in pairwise(edges))


def test_check_names_the_parts_of_the_band(call: Call, sky_file: Path, tmp_path: Path) -> None:
    config = tmp_path / "mlppa.toml"
    config.write_text('input = ["a.fil"]\noutput = "out"\n[search]\nsubbands = true\n')
    ended = call("check", config, "--data", sky_file)
    assert ended.code == 0
    parts = [line for line in ended.out.splitlines() if line.startswith("sub-band ")]
    assert len(parts) >= 3
    assert all(" MHz: " in line and " rows, " in line for line in parts)


def keys(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in section.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from keys(type(field.default), f"{name}.")
        else:
            yield prefix + name, field.default


def test_the_example_names_every_key_with_its_default() -> None:
    text = EXAMPLE.read_text()
    content = tomllib.loads(text)
    known = dict(keys(Config))
    assert len(known) > 15
    named = {name: value for name, value in content.items() if not isinstance(value, dict)}
    for section, values in content.items():
        if isinstance(values, dict):
            named |= {f"{section}.{name}": value for name, value in values.items()}
    absent = {name for name, default in known.items() if default is None}
    assert named.keys() == known.keys() - absent
    for name in absent:
        assert re.search(rf'^# {name.split(".")[1]} = ["0-9]', text, re.MULTILINE), name
    for name, value in named.items():
        if name not in ("input", "output"):
            assert value == known[name], name
    Config.model_validate(content)


def test_the_example_of_the_daemon_names_its_own_keys_with_their_defaults() -> None:
    text = TELESCOPE.read_text()
    content = tomllib.loads(text)
    DaemonConfig.model_validate(content)
    own = set(DaemonConfig.model_fields) - set(Config.model_fields)
    assert own <= content.keys()
    known = dict(keys(DaemonConfig))
    for section in own - {"streams", "header"}:
        for name, field in DaemonConfig.model_fields[section].default:
            if name == "ladder":
                assert content[section][name], "an example of one"
            elif known[f"{section}.{name}"] is None:
                assert re.search(rf'^# {name} = ["0-9]', text, re.MULTILINE), name
            else:
                assert content[section].pop(name) == (
                    list(field) if isinstance(field, tuple) else field
                ), name
    assert content["header"].keys() | {"ra_deg", "dec_deg"} == HeaderSettings.model_fields.keys()


def test_a_model_whose_weights_do_not_come_along_has_a_card(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = tmp_path / "large"
    large.mkdir()
    for name in ("card.json", "recipe.toml"):
        shutil.copy(model_card("spine-64").folder / name, large / name)
    monkeypatch.setattr("mlppa.classify.card.models_folder", lambda: tmp_path)
    assert call("models", "list").out == ""
    assert "parameters" in call("models", "info", "large").out
    ended = call("models", "compare", "large", "-o", tmp_path / "table", "--seconds", "10")
    assert ended.code == 4
    assert "there are no weights; restore it, or train it: mlppa models train" in ended.error


def test_models_are_listed_and_described(call: Call) -> None:
    assert re.search(r"^spine-64 +64 pixels", call("models", "list").out, re.MULTILINE)
    assert "spine-64" in {card["name"] for card in json.loads(call("models", "list", "--json").out)}
    told = call("models", "info", "spine-64").out
    card = json.loads(call("models", "info", "spine-64", "--json").out)
    assert card["res"] == 64
    assert card["sha256"] in told
    for part in ("training", "geometry", "metrics"):
        assert part in card
        assert re.search(rf"^{part}$", told, re.MULTILINE)


# Simulated skies.

SHORT = ("--seconds", "2", "--nchans", "64", "--tsamp-us", "500")


def test_the_same_seed_gives_the_same_bytes(call: Call, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        path = tmp_path / f"{name}.fil"
        ended = call("simulate", path, *SHORT, "--pulses", "2", "--rfi", "--seed", seed)
        assert ended == Ended(0, f"{path}: 2 s, 2 pulses, truth beside it\n", "")
    a, b, c = ((tmp_path / f"{name}.fil").read_bytes() for name in "abc")
    assert a == b.replace(b"b.fil", b"a.fil")
    assert a != c
    assert len(read_truth(tmp_path / "a.fil.truth.jsonl").pulses) == 2
    assert call("simulate", tmp_path / "d.fil", *SHORT, "-q").out == ""


@pytest.mark.parametrize(("option", "value"), [("--nbits", 2), ("--foff-mhz", 1.0)])
def test_simulated_files_are_as_asked_and_are_found(
    option: str, value: float, call: Call, tmp_path: Path
) -> None:
    """As the shell sees it: simulate, search, compare with the truth."""
    path = tmp_path / "sky.fil"
    band = ("--fch1-mhz", 1300 if value == 1.0 else 1500)
    pulses = ("--pulses", 3, "--snr", 25, 30, "--dm", 100, 300, "--width-ms", 8, 16)
    size = ("--seconds", 8, "--nchans", 128, "--tsamp-us", 1000)
    assert call("simulate", path, *size, *pulses, *band, option, value).code == 0
    ended = call("search", path, "-o", tmp_path / "out", "--json", "--no-images")
    truth = read_truth(tmp_path / "sky.fil.truth.jsonl").pulses
    found = [
        json.loads(x) for x in (tmp_path / "out" / "detections.jsonl").read_text().splitlines()
    ]
    assert json.loads(ended.out)["detections"] == len(found) == 3
    for pulse, detection in zip(truth, found, strict=True):
        assert detection["time_s"] == pytest.approx(pulse.time_s, abs=0.02)
        assert detection["dm"] == pytest.approx(pulse.dm, abs=6 * detection["dm_err"])


def test_a_truth_file_gives_its_sky_again(call: Call, tmp_path: Path) -> None:
    first, again = tmp_path / "first.fil", tmp_path / "again.fil"
    options = (*SHORT, "--seed", 5, "--nbits", 16)
    call("simulate", first, *options, "--pulses", 2, "--rfi", "--dm", 10, 50)
    call("simulate", again, *options, "--pulses", 0, "--rfi", "--truth", f"{first}.truth.jsonl")
    assert again.read_bytes() == first.read_bytes()


@pytest.mark.shared
def test_a_truth_file_of_others_gives_a_sky_with_its_pulses(
    call: Call, shared_data: Path, tmp_path: Path
) -> None:
    truth = shared_data / "candidates" / "transientx" / "B.truth.json"
    wanted = json.loads(truth.read_text())
    path = tmp_path / "b.fil"
    assert call("simulate", path, "--truth", truth, "--seconds", 5, "--nchans", 32).code == 0
    pulses = read_truth(tmp_path / "b.fil.truth.jsonl").pulses
    assert [(p.time_s, p.dm, p.snr) for p in pulses] == [
        (p["t"], p["dm"], p["snr"]) for p in wanted["pulses"]
    ]


# Listening, across processes.


def test_a_listener_hears_a_search_and_catches_up(
    sky_file: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The listener comes when all is over: only the replay can tell it what was."""
    short = tmp_path_factory.mktemp("z")
    publish, replay = f"ipc://{short}/p", f"ipc://{short}/r"
    out = tmp_path / "out"
    program: list[Any] = [
        sys.executable,
        "-m",
        "tests.stand_in",
        "search",
        sky_file,
        "-o",
        out,
        "-q",
        *QUICK,
    ]
    early: list[Any] = [MLPPA, "listen", publish]
    late = [*early, "--replay", replay, "--from-seq", "1", "--json"]
    address = ["--publish", publish, "--replay", replay, "--linger-s", "60"]
    with (
        subprocess.Popen(early, stdout=subprocess.PIPE, text=True) as listener,
        subprocess.Popen([*program, *address], cwd=ROOT, stderr=subprocess.PIPE) as search,
    ):
        try:
            assert listener.stdout is not None
            live = [next(listener.stdout) for _ in range(3)]
            while not (out / "summary.json").exists():
                assert search.poll() is None
                time.sleep(0.02)
            gulp = json.loads((out / "summary.json").read_text())["plan"]["gulp_samples"]
            # one coverage for each gulp, and one for the end
            coverage = -(-SKY.nsamples // gulp) + 1
            total = len((out / "detections.jsonl").read_text().splitlines()) + coverage
            heard = listen_to(late, total)
        finally:
            search.send_signal(signal.SIGTERM)
            listener.kill()
        assert search.wait(10) == 0
    assert any(re.match(r"sky \d+: looked at \d+\.\d+-\d+\.\d+ s, \d+ candidates", x) for x in live)
    assert [message["seq"] for message in heard] == list(range(1, total + 1))
    detections = [json.loads(x) for x in (out / "detections.jsonl").read_text().splitlines()]
    assert [m for m in heard if m["schema"] == "mlppa.detection/1"] == detections
    assert heard[-1]["schema"] == "mlppa.coverage/1"
    assert heard[-1]["decided_to"] == SKY.nsamples


def listen_to(command: list[Any], count: int) -> list[dict[str, Any]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        try:
            heard = [json.loads(next(listener.stdout)) for _ in range(count)]
            listener.send_signal(signal.SIGINT)
            assert listener.wait(10) == 130
        finally:
            # else who waits too long would wait for it for ever
            listener.kill()
    return heard
