"""The commands: what they print, how they end, and how soon."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from mlppa import __version__
from mlppa.cli import main
from mlppa.config import Config
from mlppa.offline import Search
from mlppa.simulate import read_truth, write_filterbank

from . import stand_in
from .skies import HEADER, SKY

ROOT = Path(__file__).parents[1]
MLPPA = Path(sys.executable).with_name("mlppa")
EXAMPLE = ROOT / "deploy" / "examples" / "laptop.toml"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that an error is."""
        assert re.fullmatch(r"mlppa: error: .+\n", self.err), self.err
        return self.err


type Call = Callable[..., Ended]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call the program in this process, a formula standing in for its network."""
    monkeypatch.setattr("mlppa.classify.load_model", stand_in.load_model)

    def call(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["mlppa", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, *capsys.readouterr())

    return call


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


def test_without_a_command_there_is_help(call: Call) -> None:
    ended = call()
    assert ended.code in (0, 2)
    for command in ("search", "check", "simulate", "demo", "listen", "models"):
        assert command in ended.out + ended.err


def test_the_version(call: Call) -> None:
    assert call("--version") == Ended(0, f"{__version__}\n", "")


# Exit codes: every error is one line that says what to do.


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["search"],
        ["search", "SKY"],
        ["search", "SKY", "-o", "OUT", "--nonsense"],
        ["search", "SKY", "-o", "OUT", "--threads", "two"],
        ["search", "SKY", "-o", "OUT", "--threads", "0"],
        ["search", "SKY", "-o", "OUT", "--threshold", "nan"],
        ["search", "SKY", "-o", "OUT", "--dm-max", "inf"],
        ["search", "SKY", "-o", "OUT", "--dm-max", "1e9"],
        ["search", "SKY", "-o", "OUT", "--stream", "a/b"],
        ["search", "SKY", "-o", "OUT", "--device", "abacus"],
        ["search", "SKY", "-o", "OUT", "--publish", "ipc://a", "--replay", "ipc://a"],
        ["search", "nowhere://a", "-o", "OUT"],
        ["simulate", "OUT", "--snr", "9", "3"],
        ["simulate", "OUT", "--pulses", "-1"],
        ["simulate", "OUT", "--nbits", "1", "--nchans", "9"],
        ["demo", "--seconds", "1"],
        ["check", "nothing.toml"],
    ],
    ids=" ".join,
)
def test_usage_and_configuration_are_exit_code_2(
    words: list[str], call: Call, sky_file: Path, tmp_path: Path
) -> None:
    named = {"SKY": sky_file, "OUT": tmp_path / "out"}
    ended = call(*(named.get(word, word) for word in words))
    assert ended.code == 2
    assert ended.error
    assert ended.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("input = ['a.fil'\n", "not TOML"),
        ("input = ['a.fil']\n", "output"),
        ("input = []\noutput = 'x'\n", "input"),
        ("input = ['a.fil']\noutput = 'x'\ncolour = 1\n", "colour"),
        ("input = ['a.fil']\noutput = 'x'\n[search]\ndm_max = -1\n", "search.dm_max"),
        ("input = ['a.fil']\noutput = 'x'\n[search]\nthreads = 'two'\n", "search.threads"),
        ("input = ['a.fil']\noutput = 'x'\nstream = 'a b'\n", "stream"),
    ],
)
def test_a_wrong_configuration_names_its_key(
    text: str, key: str, call: Call, tmp_path: Path
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    ended = call("check", path)
    assert ended.code == 2
    assert f"{path}: {key}" in ended.error


def test_unusable_input_is_exit_code_3(call: Call, tmp_path: Path) -> None:
    assert call("search", tmp_path / "nothing.fil", "-o", tmp_path / "out").code == 3
    (tmp_path / "text.fil").write_text("not a filterbank\n")
    ended = call("search", tmp_path / "text.fil", "-o", tmp_path / "out")
    assert ended.code == 3
    assert "HEADER_START" in ended.error
    assert call("search", tmp_path, "-o", tmp_path / "out").code == 3
    (tmp_path / "wrong.truth.jsonl").write_text("{}\n")
    truth = ("--truth", tmp_path / "wrong.truth.jsonl")
    assert call("simulate", tmp_path / "a.fil", "--seconds", 1, *truth).code == 3


def test_what_stands_in_the_way_is_exit_code_4(call: Call, sky_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for words, said in (
        (["search", sky_file, "-o", sky_file / "out"], "another output folder"),
        (["search", sky_file, "-o", sky_file], "another output folder"),
        (["search", sky_file, "-o", out, "--model", "nope"], "take one of: "),
        (["models", "info", "nope"], "take one of: "),
        (["simulate", tmp_path / "no" / "a.fil", "--seconds", "1"], "folder"),
        (["demo", "-o", sky_file / "out"], "another output folder"),
        (["search", sky_file, "-o", out, "--publish", "tcp://nowhere"], "tcp://nowhere"),
    ):
        ended = call(*words)
        assert ended.code == 4, ended
        assert said in ended.error


def test_a_port_in_use_is_exit_code_4(call: Call, sky_file: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        for option in ("--publish", "--replay"):
            ended = call("search", sky_file, "-o", tmp_path / "out", option, endpoint)
            assert ended.code == 4
            assert f"{endpoint}: cannot be bound" in ended.error


@pytest.mark.parametrize("words", [["--debug", "search"], ["search", "--debug"]])
def test_a_bug_is_exit_code_5_and_debug_shows_where(
    words: list[str],
    call: Call,
    sky_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stumble(_: object) -> Iterator[object]:
        raise ValueError("two\nlines")

    monkeypatch.setattr(Search, "run", stumble)
    quiet = call("search", sky_file, "-o", tmp_path / "out")
    assert quiet.code == 5
    assert "this is a bug: ValueError: two lines" in quiet.error
    loud = call(*words, sky_file, "-o", tmp_path / "out")
    assert loud.code == 5
    assert "Traceback" in loud.err
    assert "in stumble" in loud.err


def test_an_interrupt_before_the_search_is_exit_code_130(
    call: Call, sky_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Search, "__init__", interrupted)
    ended = call("search", sky_file, "-o", tmp_path / "out")
    assert ended.code == 130
    assert "Traceback" not in ended.err


def signalled(*numbers: signal.Signals) -> Callable[[Search, bool], None]:
    """Run a search that gets signals before its first sample is read."""

    def follow(found: Search, _: bool) -> None:
        for number in numbers:
            signal.raise_signal(number)
        for _report in found.run():
            pass

    return follow


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_the_search_with_its_results_written(
    number: signal.Signals,
    code: int,
    call: Call,
    sky_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlppa.cli.search.follow", signalled(number))
    before = signal.getsignal(number)
    ended = call("search", sky_file, "-o", tmp_path / "out", "--json", *QUICK)
    assert ended.code == code
    assert json.loads(ended.out)["stopped"]
    assert (tmp_path / "out" / "detections.jsonl").exists()
    assert signal.getsignal(number) is before


def test_a_second_interrupt_is_not_waited_for(
    call: Call, sky_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlppa.cli.search.follow", signalled(signal.SIGINT, signal.SIGINT))
    ended = call("search", sky_file, "-o", tmp_path / "out", *QUICK)
    assert ended.code == 130
    assert not (tmp_path / "out" / "summary.json").exists()


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [MLPPA, "models", "info", "spine-64"], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


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
    plan = json.loads(call("check", EXAMPLE, "--data", sky_file, "--json").out)
    assert plan["nchans"] == HEADER.nchans
    assert plan["model"] == "spine-64"
    assert plan["dm_max"] >= 2000
    assert plan["budget_s"] == pytest.approx(plan["gulp_samples"] * plan["tsamp_s"])
    edges = [(o["dm_first"], o["dm_last"]) for o in plan["octaves"]]
    assert all(last >= first for (_, last), (first, _) in pairwise(edges))


def test_check_needs_its_input(call: Call) -> None:
    ended = call("check", EXAMPLE)
    assert ended.code == 3
    assert "observation.fil" in ended.error


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
        assert re.search(rf'^# {name.split(".")[1]} = "', text, re.MULTILINE), name
    for name, value in named.items():
        if name not in ("input", "output"):
            assert value == known[name], name
    Config.model_validate(content)


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
            total = len((out / "detections.jsonl").read_text().splitlines()) + 6
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
        heard = [json.loads(next(listener.stdout)) for _ in range(count)]
        listener.send_signal(signal.SIGINT)
        assert listener.wait(10) == 130
    return heard
