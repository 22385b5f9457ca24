"""What is wrong with a command is said in one line: the thing, the cause, the remedy."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlppa.config import Config
from mlppa.offline import Search
from mlppa.simulate import write_filterbank

from .calling import Call
from .skies import SKY

ROOT = Path(__file__).parents[1]
MLPPA = Path(sys.executable).with_name("mlppa")
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.toml"))


@pytest.fixture(scope="module")
def short_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of sky in which nothing is found."""
    path = tmp_path_factory.mktemp("sky") / "sky.fil"
    write_filterbank(replace(SKY, nsamples=1000, pulses=(), interference=()), path)
    return path


@pytest.fixture
def named(short_file: Path, tmp_path: Path) -> dict[str, Path]:
    """Words that stand for paths: a sky, nothing yet, a file of text, a folder, a recipe."""
    text = tmp_path / "text"
    text.write_text("no filterbank\n")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("architecture = 'oak'\n")
    paths = {"SKY": short_file, "OUT": tmp_path / "out", "TEXT": text, "FOLDER": tmp_path}
    return paths | {"RECIPE": recipe}


SEARCH = ("search", "SKY", "-o", "OUT")
TWENTY_TERABYTES = ("--seconds", "86400", "--nchans", "65536", "--foff-mhz", "-0.02")
ADDRESS = "tcp://127.0.0.1:5757 or ipc://"


# Exit code 2: the command line, or the configuration.


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "mlppa: no such command 'nonsense'; see mlppa --help"),
        (["serach"], "mlppa: no such command 'serach'; did you mean 'search'?"),
        (["models", "nonsense"], "see mlppa models --help"),
        (["--nonsense"], "--nonsense: no such option; see mlppa --help"),
        (["search"], "FILES: is not given"),
        (["search", "SKY"], "--output: is not given"),
        (["search", "SKY", "-o"], "-o: requires an argument"),
        (["search", "SKY", "-o", ""], "--output: is empty; name a folder"),
        (["search", "", "-o", "OUT"], "FILES: is empty"),
        (["search", os.fsdecode(b"\xff.fil"), "-o", "OUT"], "FILES: is not UTF-8"),
        ([*SEARCH, "--nonsense"], "see mlppa search --help"),
        ([*SEARCH, "--threads", "two"], "--threads: 'two' is not a whole number"),
        ([*SEARCH, "--threads", "0"], "--threads: 0 is out of range; give 1 or more"),
        ([*SEARCH, "--threads", "9999"], "--threads: 9999 is out of range; give 1024 or less"),
        ([*SEARCH, "--threshold", "nan"], "--threshold: nan is not finite; give a fin"),
        ([*SEARCH, "--dm-max", "-1"], "--dm-max: -1 is out of range; give a number above 0"),
        ([*SEARCH, "--dm-max", "inf"], "--dm-max: inf is not finite; give a finite number"),
        ([*SEARCH, "--dm-max", "much"], "--dm-max: 'much' is not a number"),
        ([*SEARCH, "--dm-max", "1e9"], r"--dm-max: 1e\+09 is out of range; give 1e\+06 or less"),
        ([*SEARCH, "--width-max", "0"], "--width-max-ms: 0 is out of range"),
        ([*SEARCH, "--min-probability", "2"], "--min-probability: 2 is out of range"),
        ([*SEARCH, "--linger-s", "-1"], "--linger-s: -1 is out of range"),
        ([*SEARCH, "--stream", "a b"], "--stream: 'a b' is not 1 to 64 of these characters: A-Z"),
        ([*SEARCH, "--stream", "a/b"], "A-Z a-z 0-9 _ . -; "),
        ([*SEARCH, "--stream", ""], "--stream: ''"),
        ([*SEARCH, "--model", ""], "--model: is empty"),
        ([*SEARCH, "--device", "abacus"], "'abacus' is not known; give one of 'auto', 'cpu'"),
        ([*SEARCH, "--plan", "slow"], "--plan: 'slow' is not known; give one of 'quality', 'fast'"),
        ([*SEARCH, "--publish", "nonsense"], f"--publish: 'nonsense' is not an addr.*{ADDRESS}"),
        ([*SEARCH, "--publish", "tcp://nowhere"], f"--publish: .*; give one like {ADDRESS}"),
        ([*SEARCH, "--replay", "memory:"], f"--replay: .*; give one like {ADDRESS}"),
        ([*SEARCH, "--replay", "tcp://*:99999"], "--replay: .* port .* between 0 and 65535"),
        ([*SEARCH, "--replay", "ipc://" + 108 * "x"], "--replay: .* at most 107 bytes, not 108"),
        ([*SEARCH, "--publish", "ipc://a", "--replay", "ipc://a"], "--replay: ipc://a is where"),
        (["search", "nowhere://a", "-o", "OUT"], "nowhere"),
        (["listen", "nonsense"], f"ENDPOINT: .*{ADDRESS}"),
        (["listen", "tcp://*:5757"], "ENDPOINT: .* names no single host"),
        (["listen", "tcp://127.0.0.1:0"], "ENDPOINT: .* between 1 and 65535"),
        (["listen", "--replay", "nonsense"], f"--replay: .*{ADDRESS}"),
        (["listen", "--from-seq", "1"], "--from-seq: .*; give --replay too"),
        (["simulate", "OUT", "--snr", "9", "3"], "--snr: 9 3 is not a range"),
        (["simulate", "OUT", "--snr", "9"], "--snr: requires 2 arguments"),
        (["simulate", "OUT", "--snr", "9", "1e30"], "--snr: "),
        (["simulate", "OUT", "--dm", "1", "1e6"], "--dm: .* the sweep of the band is longer than"),
        (["simulate", "OUT", "--width-ms", "1", "1e5"], "--width-ms: .* longer than the 30 s"),
        (["simulate", "OUT", "--pulses", "-1"], "--pulses: -1 is out of range; give 0 or more"),
        (["simulate", "OUT", "--seconds", "nan"], "--seconds: nan is not finite"),
        (["simulate", "OUT", "--nbits", "7"], "--nbits: .* 7 bits; give 1, 2, 4, 8, 16 or 32"),
        (["simulate", "OUT", "--nbits", "1", "--nchans", "9"], "--nchans: .* multiple of eight"),
        (["simulate", "OUT", "--nchans", "0"], "--nchans: 0 is out of range; give 2 or more"),
        (["simulate", "OUT", "--tsamp-us", "-3"], "--tsamp-us: -3 is out of range"),
        (["simulate", "OUT", "--foff-mhz", "0"], "--foff-mhz: 0 is no step"),
        (["simulate", "OUT", "--foff-mhz", "-9"], "--foff-mhz: the band crosses 0 MHz"),
        (["simulate", "OUT", "--foff-mhz", "1e6"], "--foff-mhz: a band from 1500 to 2.55.* MHz; "),
        (["simulate", "OUT", "--foff-mhz", "30000"], "--foff-mhz: .* a channel is smeared over"),
        (["simulate", "OUT", "--seconds", "2", "--pulses", "100000"], "--pulses: .* GiB of memory"),
        (["simulate", "OUT", "--tstart-mjd", "nan"], "--tstart-mjd: nan is not finite"),
        (["demo", "--seconds", "1"], "--seconds: 1 is out of range; give 5 or more"),
        (["demo", "-o", ""], "--output: is empty"),
        (["models", "train", "--recipe", "r.toml", "-o", ""], "--out/-o: is empty"),
        (
            ["models", "train", "--recipe", "RECIPE", "-o", "OUT"],
            "architecture: 'oak' is unknown; t",
        ),
        (["models", "info", ""], "MODEL: is empty; give a name"),
        (["check", str(EXAMPLES[0]), "--data", ""], "--data: is empty; give a name"),
        (["check"], "CONFIG: is not given; see mlppa check --help"),
        (["check", "nothing.toml"], "nothing.toml: cannot be read"),
        (["check", "FOLDER"], "is a folder; give a configuration file"),
    ],
    ids=lambda words: " ".join(words)[:48] if isinstance(words, list) else "",
)
def test_usage_is_exit_code_2_and_names_the_option(
    words: list[str], said: str, call: Call, named: dict[str, Path]
) -> None:
    ended = call(*(named.get(word, word) for word in words))
    assert ended.code == 2
    assert re.search(said, ended.error), ended.error
    assert ended.out == ""
    assert not named["OUT"].exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("input = ['a.fil'\n", "c.toml: not TOML: "),
        (f"input = {'9' * 5000}\n", "c.toml: not TOML: "),
        ("input = ['a.fil']\n", "c.toml: output: is not given; give it"),
        ("output = 'x'\n", "c.toml: there is no input; give input = "),
        ("input = []\noutput = 'x'\n", "c.toml: there is no input; give input = "),
        ("input = ['']\noutput = 'x'\n", "c.toml: input.0: is empty"),
        ("input = 'a.fil'\noutput = 'x'\n", "c.toml: input: 'a.fil' is not a list"),
        ("output = 3\ncolour = 1\n", "c.toml: .* \\(and 1 more\\); "),
        ("colour = 1\n", "c.toml: colour: there is no such key; take one of: stream, input, "),
        ("[search]\nhue = 1\n", "c.toml: search.hue: .* take one of: dm_max, width_max_ms, "),
        ("search = 1\n", r"c.toml: search: 1 is not a section; .* under \[search\]"),
        ("[search]\ndm_max = -1\n", "c.toml: search.dm_max: -1 is out of range; give a number ab"),
        ("[search]\ndm_max = 0.001\n", "c.toml: search.dm_max: at 0.001 the sweep"),
        ("[search]\nthreads = 'two'\n", "c.toml: search.threads: 'two' is not a whole number"),
        ("[search]\nthreads = 1.5\n", "c.toml: search.threads: 1.5 is not a whole number"),
        ("[search]\nmask = 'perhaps'\n", "c.toml: search.mask: 'perhaps' is neither true nor"),
        ("[search]\nplan = 'best'\n", "c.toml: search.plan: 'best' is not known; give 'quality'"),
        ("[publish]\nreplay = '5758'\n", f"c.toml: publish.replay: '5758' .*{ADDRESS}"),
        ("stream = 'a b'\n", "c.toml: stream: 'a b' is not 1 to 64 of"),
    ],
)
def test_a_wrong_configuration_names_its_key(
    text: str, said: str, call: Call, named: dict[str, Path], tmp_path: Path
) -> None:
    start = f"input = ['{named['SKY']}']\noutput = 'x'\n"
    whole = text if "put" in text else start + text if "[" in text else text + start
    path = tmp_path / "c.toml"
    path.write_text(whole)
    ended = call("check", path)
    assert ended.code == 2
    assert re.search(said, ended.error), ended.error


def test_the_least_dm_that_is_told_will_do(
    call: Call, named: dict[str, Path], tmp_path: Path
) -> None:
    refused = call("search", named["SKY"], "-o", tmp_path / "out", "--dm-max", "0.001")
    assert refused.code == 2
    found = re.search(r"--dm-max: at 0.001 .*; give (\S+) or more", refused.error)
    assert found
    assert not (tmp_path / "out").exists()
    words = ("search", named["SKY"], "-o", tmp_path / "out", "-q", "--dm-max")
    assert call(*words, found[1]).code == 0
    assert call(*words, f"{float(found[1]) * 0.99}").code == 2


def test_data_that_cannot_tell_dms_apart_are_told(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "narrow.fil"
    header = replace(SKY.header, fch1_mhz=90_000.0, foff_mhz=-0.01)
    write_filterbank(replace(SKY, header=header, nsamples=8, pulses=(), interference=()), path)
    ended = call("search", path, "-o", tmp_path / "out")
    assert ended.code == 3
    assert "these data: up to a DM of 1e+06 the sweep" in ended.error
    assert "; give data of a wider band" in ended.error


@pytest.mark.parametrize(
    ("option", "said"),
    [("--dm-max", "the sweep of [0-9.e+]+ s at 1e.06"), ("--width-max-ms", "a boxcar of 1e.03 s")],
)
def test_what_needs_too_much_memory_is_named(
    option: str, said: str, call: Call, tmp_path: Path
) -> None:
    path = tmp_path / "fine.fil"
    header = replace(SKY.header, nchans=1024, foff_mhz=SKY.header.foff_mhz / 8, tsamp_s=64e-6)
    write_filterbank(replace(SKY, header=header, nsamples=8, pulses=(), interference=()), path)
    ended = call("search", path, "-o", tmp_path / "out", option, "1e6")
    assert ended.code == 2
    assert re.search(f"{option}: {said} needs .* GiB of memory; lower it until 16 ", ended.error)


def test_an_address_is_checked_before_anything_else(call: Call, tmp_path: Path) -> None:
    ended = call("search", tmp_path / "nothing.fil", "-o", tmp_path / "out", "--publish", "here")
    assert ended.code == 2
    assert "--publish" in ended.error


def test_without_a_command_there_is_help(call: Call) -> None:
    for words in ([], ["--debug"], ["models"]):
        ended = call(*words)
        assert (ended.code, ended.err) == (2, "")
        commands = ["list", "info", "train"] if words == ["models"] else ["search", "check", "demo"]
        for command in commands:
            assert re.search(rf"\b{command}\b", ended.out)


# Exit code 3: the data.


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", "nothing.fil", "-o", "OUT"], "nothing.fil: "),
        (["search", "TEXT", "-o", "OUT"], "HEADER_START"),
        (["search", "FOLDER", "-o", "OUT"], "is not a regular file"),
        (["search", 300 * "x", "-o", "OUT"], "File name too long; check the name"),
        (["simulate", "OUT", "--truth", "SKY"], "is not text; "),
        (["simulate", "OUT", "--truth", "TEXT"], "not a truth file"),
        (["simulate", "OUT", "--truth", "FOLDER"], "cannot be read"),
        (["check", str(EXAMPLES[0]), "--data", "nothing.fil"], "nothing.fil: "),
        (["check", str(EXAMPLES[0]), "--data", "TEXT"], "HEADER_START"),
    ],
)
def test_unusable_data_are_exit_code_3(
    words: list[str], said: str, call: Call, named: dict[str, Path]
) -> None:
    ended = call(*(named.get(word, word) for word in words))
    assert ended.code == 3
    assert said in ended.error
    assert len(ended.error) < 1000


# Exit code 4: what is around the program.


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", "SKY", "-o", "TEXT"], "text: is a file, not a folder; choose another output"),
        (["search", "SKY", "-o", "TEXT/out"], "text/out: a part of it is a file"),
        (["demo", "-o", "TEXT"], "text: is a file, not a folder; choose another output folder"),
        (["search", "SKY", "-o", "OUT", "--model", "nope"], "take one of: "),
        (["models", "info", "nope"], "take one of: "),
        (["simulate", "OUT", *TWENTY_TERABYTES], "GiB, and the disk has "),
        (["simulate", "FOLDER/no/a.fil", "--seconds", "1"], "/no; make it, or choose"),
        (["simulate", "TEXT/a.fil", "--seconds", "1"], "/text is not a folder; choose another"),
        (["simulate", "FOLDER", "--seconds", "1"], "is a folder; name a file in it, such as"),
        (["simulate", "", "--seconds", "1"], ".: is a folder; name a file in it, such as sky.fil"),
        (["simulate", "/dev/null/a.fil", "--seconds", "1"], "/dev/null is not a folder; "),
        ([*SEARCH, "--publish", "ipc://FOLDER/no/p"], "make the folder of the path"),
        ([*SEARCH, "--publish", "tcp://192.0.2.1:5555"], "an address of this machine, or tcp://*"),
    ],
    ids=lambda words: " ".join(words)[:48] if isinstance(words, list) else "",
)
def test_what_stands_in_the_way_is_exit_code_4(
    words: list[str], said: str, call: Call, named: dict[str, Path]
) -> None:
    def filled(word: str) -> str:
        for name, path in named.items():
            word = re.sub(rf"\b{name}\b", str(path), word)
        return word

    ended = call(*map(filled, words))
    assert ended.code == 4
    assert said in ended.error
    assert "[Errno" not in ended.error


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("text", "text: is a file, not a folder; choose"),
        ("text/model", "text/model: a part of it is a file, not a folder; choose"),
    ],
)
def test_where_a_model_goes_is_checked_before_it_is_trained(
    out: str, said: str, call: Call, named: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("mlppa.training.train.simulated")
    named["RECIPE"].write_text("skies = 8\n")
    ended = call("models", "train", "--recipe", named["RECIPE"], "-o", named["FOLDER"] / out)
    assert ended.code == 4
    assert said in ended.error


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc here")
def test_a_folder_that_takes_no_files_is_told(call: Call) -> None:
    ended = call("simulate", "/proc/x.fil", "--seconds", "1")
    assert ended.code == 4
    assert "cannot be written (" in ended.error
    assert "; choose a folder that can be written to" in ended.error


def test_a_port_in_use_is_exit_code_4(call: Call, named: dict[str, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        for option in ("--publish", "--replay"):
            ended = call("search", named["SKY"], "-o", named["OUT"], option, endpoint)
            assert ended.code == 4
            assert f"{endpoint}: cannot be bound" in ended.error
            assert "end the program that uses it" in ended.error


# Exit code 5: bugs.


@pytest.mark.parametrize("words", [["--debug", "search"], ["search", "--debug"]])
def test_a_bug_is_exit_code_5_and_debug_shows_where(
    words: list[str], call: Call, named: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(_: object) -> Iterator[object]:
        raise ValueError("two\nlines")

    monkeypatch.setattr(Search, "run", stumble)
    quiet = call("search", named["SKY"], "-o", named["OUT"])
    assert quiet.code == 5
    assert "this is a bug: ValueError: two lines; " in quiet.error
    loud = call(*words, named["SKY"], "-o", named["OUT"])
    assert loud.code == 5
    assert "Traceback" in loud.err
    assert "in stumble" in loud.err
    assert call("search", named["SKY"], "-o", named["OUT"]) == quiet


def test_debug_as_a_value_is_a_value(
    call: Call, named: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("search", named["SKY"], "-q", "-o", "--debug").code == 0
    assert (tmp_path / "--debug" / "summary.json").exists()
    ended = call("search", "-o", "out", "--", "--debug")
    assert ended.code == 3
    assert "--debug: " in ended.error


# How else a command ends.


@pytest.mark.parametrize("code", [0, 3, 120])
def test_whoever_exits_gives_the_code(
    code: int, call: Call, named: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(_: object) -> None:
        sys.exit(code)

    monkeypatch.setattr(Search, "run", leave)
    assert call("search", named["SKY"], "-o", named["OUT"]).code == code


@pytest.mark.parametrize(
    "command", [["models", "info", "spine-64"], ["search", "SKY", "-o", "OUT"]]
)
def test_a_reader_that_has_seen_enough_is_no_error(
    command: list[str], named: dict[str, Path]
) -> None:
    read, write = os.pipe()
    os.close(read)
    words = [MLPPA, *(named.get(word, word) for word in command)]
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_interrupt_before_the_search_is_exit_code_130(
    call: Call, named: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Search, "__init__", interrupted)
    ended = call("search", named["SKY"], "-o", named["OUT"])
    assert ended.code == 130
    assert "Traceback" not in ended.err


def signalled(
    *numbers: signal.Signals, at_the_end: bool = False
) -> Callable[[Search, object], None]:
    """Run a search that gets signals before its first sample is read, or after its last."""

    def follow(found: Search, _: object) -> None:
        if at_the_end:
            [*_reports] = found.run()
        for number in numbers:
            signal.raise_signal(number)
        if not at_the_end:
            [*_reports] = found.run()

    return follow


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_search_with_its_results_written(
    number: signal.Signals,
    code: int,
    call: Call,
    named: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlppa.cli.search.follow", signalled(number))
    before = signal.getsignal(number)
    ended = call("search", named["SKY"], "-o", named["OUT"], "--json")
    assert ended.code == code
    assert json.loads(ended.out)["stopped"]
    assert json.loads((named["OUT"] / "summary.json").read_text())["stopped"]
    assert (named["OUT"] / "detections.jsonl").exists()
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_when_all_was_searched_is_exit_code_0(
    number: signal.Signals, call: Call, named: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlppa.cli.search.follow", signalled(number, at_the_end=True))
    ended = call("search", named["SKY"], "-o", named["OUT"], "--json")
    assert ended.code == 0
    assert not json.loads(ended.out)["stopped"]


def test_a_second_interrupt_is_not_waited_for(
    call: Call, named: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlppa.cli.search.follow", signalled(signal.SIGINT, signal.SIGINT))
    ended = call("search", named["SKY"], "-o", named["OUT"])
    assert ended.code == 130
    assert not (named["OUT"] / "summary.json").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_half_of_a_simulated_file(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    words = [str(MLPPA), "simulate", str(tmp_path / "a.fil"), "--seconds", "600"]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
        while len(list(tmp_path.iterdir())) < 2:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (code, b"")
    assert not list(tmp_path.iterdir())


def test_an_interrupt_that_a_library_makes_an_error_of_is_one(
    call: Call, named: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def follow(*_: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("cannot import this") from error

    monkeypatch.setattr("mlppa.cli.search.follow", follow)
    ended = call("search", named["SKY"], "-o", named["OUT"])
    assert (ended.code, ended.err) == (130, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_who_make_images(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    words = [str(MLPPA), "models", "dataset", "-o", str(tmp_path), "--processes", "2"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, start_new_session=True) as process:
        group = process.pid
        # Python's own start of a process complains when it is cut short
        while not (tmp_path / ".dataset.json.begun").exists() or len(at_work(group)) < 2:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert said == b""
    assert process.returncode == code
    # Python's own keeper of shared memory ends after those that it keeps it for
    until = time.monotonic() + 20
    while workers(group) and time.monotonic() < until:
        time.sleep(0.05)
    assert not workers(group)
    assert not list(tmp_path.glob(".shard*"))


def workers(group: int) -> list[int]:
    """Processes of a group that live."""
    found = subprocess.run(["pgrep", "-g", str(group)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def at_work(group: int) -> list[int]:
    """Those that have computed for a second: neither who waits for them nor who only starts."""
    ticks = os.sysconf("SC_CLK_TCK")
    found = []
    for pid in workers(group):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found += [pid] if int(stat[11]) >= ticks else []
    return found


# Without data, and without anybody there.


def test_the_example_of_the_daemon_is_planned_by_its_header(call: Call) -> None:
    (example,) = (path for path in EXAMPLES if path.name == "telescope.toml")
    ended = call("check", example)
    assert ended.code == 0
    assert re.search(r"^nchans +1024$", ended.out, re.MULTILINE)


def test_a_live_input_without_a_header_has_no_plan_yet(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("input = ['spead://:7148']\noutput = 'x'\n")
    said = "no plan: spead://:7148 tells its header when it begins (give --data FILE)"
    assert said in call("check", path).out


def test_the_examples_are_valid_where_their_data_are_not(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = (path for path in EXAMPLES if path.name == "laptop.toml")
    (first, *_) = Config.load(example).input
    ended = call("check", example)
    said = f"configuration is valid; no plan: {first} is not there (give --data FILE)\n"
    assert (ended.code, ended.out, ended.err) == (0, said, "")
    told = json.loads(call("check", example, "--json").out)
    assert (told["valid"], told["plan"], told["reason"]) == (True, None, f"{first} is not there")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_listener_says_once_that_nobody_is_there(options: list[str], tmp_path: Path) -> None:
    words: list[Any] = [MLPPA, "listen", f"ipc://{tmp_path}/nobody", *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listener:
        assert listener.stderr is not None
        said = listener.stderr.readline().decode()
        with pytest.raises(subprocess.TimeoutExpired):
            listener.wait(3)
        listener.send_signal(signal.SIGINT)
        out, err = listener.communicate(timeout=10)
    where = f"waiting for ipc://{tmp_path}/nobody"
    assert f"{where} (nothing heard yet; is mlppa running with --publish?)" in said
    assert (out, err, listener.returncode) == (b"", b"", 130)
