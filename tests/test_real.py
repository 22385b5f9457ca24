"""Real recordings and damaged ones, through the program as a user calls it."""

import json
import logging
import os
import re
import resource
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlppa.classify import Classifier
from mlppa.cli import main
from mlppa.config import Plan, SearchSettings
from mlppa.data import FilterbankHeader
from mlppa.dispersion import delay_s
from mlppa.pipeline import Parts, pipeline
from mlppa.sinks.reader import JournalReader
from mlppa.sources import open_source
from mlppa.sources.memory import MemorySource

from .reports import assert_same, told
from .skies import kernel

pytestmark = pytest.mark.shared

#: The program as it is installed.
MLPPA = Path(sys.executable).with_name("mlppa")
FRB = "FRB20180417A_askap_beam28"

GIB = 2**30
SECONDS = 10


def call(*words: object, monkeypatch: pytest.MonkeyPatch) -> int:
    """Call the program in this process; give its exit code."""
    monkeypatch.setattr(sys, "argv", ["mlppa", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def check_frb(out: Path) -> None:
    (detection,) = lines(out / "detections.jsonl")
    assert detection["label"] == "pulse"
    assert detection["dm"] == pytest.approx(475, abs=3)
    assert detection["time_s"] == pytest.approx(2.028, abs=0.005)
    assert detection["snr"] >= 14.5
    assert detection["probability"] > 0.9
    assert detection["injected"] is False
    assert (out / detection["image"]).is_file()


def test_the_real_burst_by_the_program(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [MLPPA, "search", shared_data / "real" / f"{FRB}.fil", "-o", out],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1 detection\n")
    check_frb(out)


@pytest.mark.usefixtures("loaded")
def test_the_same_burst_in_psrfits(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are padded with zeros, which must not enter the statistics."""
    real = shared_data / "real"
    for kind in ("fil", "fits"):
        file = real / f"{FRB}.{kind}"
        assert call("search", file, "-o", tmp_path / kind, "-q", monkeypatch=monkeypatch) == 0
        check_frb(tmp_path / kind)
    one, other = (lines(tmp_path / kind / "detections.jsonl")[0] for kind in ("fil", "fits"))
    for name in ("mjd", "dm", "snr", "width_ms", "probability"):
        assert one[name] == pytest.approx(other[name], rel=1e-9), name


@cache
def frb(file: Path) -> tuple[FilterbankHeader, NDArray[Any]]:
    source = open_source([str(file)])
    return source.header, np.concatenate([block.spectra for block in source.blocks()])


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(cuts=st.lists(st.integers(1, 700), max_size=7))
@example(cuts=[1])
@example(cuts=[16] * 320)
def test_the_burst_is_the_same_in_blocks_of_any_size(
    cuts: list[int], shared_data: Path, network: Classifier
) -> None:
    header, spectra = frb(shared_data / "real" / f"{FRB}.fil")
    plan = Plan.make(SearchSettings(), header, network.res)

    def run(pieces: list[int]) -> list[dict[str, Any]]:
        source = MemorySource(header, spectra, pieces)
        return told(list(pipeline(Parts(source, plan, kernel(), network, 0.7, pictures=True))))

    assert_same(run(cuts), run([]))


#: What a refusal must name. Each is one line with a remedy, and exit code 3.
REFUSED = {
    "fch1_negative_low.fil": "band crosses 0 MHz",
    "foff0.fil": "foff = 0",
    "gzipped.fil": "gzip",
    "header_only.fil": "no whole spectrum",
    "header_truncated.fil": "header breaks off",
    "missing_nchans.fil": "nchans is missing",
    "nbits7.fil": "nbits = 7",
    "nchans0.fil": "nchans = 0",
    "nchans_huge.fil": "nchans = 2147483647",
    "not_a_filterbank.fil": "not a SIGPROC filterbank",
    "psrfits_obsmode_psr.fits": "folded",
    "string_length_huge.fil": "2147483647 bytes",
    "timeseries_datatype2.fil": "time series",
    "tsamp_nan.fil": "tsamp = nan is not finite",
    "zero_length.fil": "empty",
}

#: Samples searched and masked, and the one warning.
SEARCHED = {
    "all_constant.fil": (0, 2000, "nothing could be searched"),
    "all_saturated.fil": (0, 2000, "nothing could be searched"),
    "nan_inf_32bit.fil": (1990, 10, "10 of 2000 samples are masked"),
    "nsamples_lies.fil": (400, 0, "nsamples says 1000000, the file holds 400"),
    "truncated_mid_spectrum.fil": (350, 0, "350 whole spectra; the last 117 bytes"),
    "unknown_keyword.fil": (400, 0, "my_private_key"),
}


def test_every_bad_file_is_known(shared_data: Path) -> None:
    names = {path.name for path in (shared_data / "bad").iterdir()}
    assert names == REFUSED.keys() | SEARCHED.keys()


def bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (GIB, GIB))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


@pytest.fixture(scope="module")
def no_tensorflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment in which whoever imports TensorFlow or Keras fails."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("tensorflow", "keras"):
        (folder / f"{name}.py").write_text("raise RuntimeError('imported too early')\n")
    # one thread: each has a stack, and those of a BLAS would not fit under the limit
    return {**os.environ, "PYTHONPATH": str(folder), "OPENBLAS_NUM_THREADS": "1"}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_unusable_files_are_refused(
    name: str, shared_data: Path, tmp_path: Path, no_tensorflow: dict[str, str]
) -> None:
    file, out = shared_data / "bad" / name, tmp_path / "out"
    done = subprocess.run(
        [MLPPA, "search", file, "-o", out],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=bounded,
        env=no_tensorflow,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    said = re.fullmatch(r"mlppa: error: (\S+): (.+); (.+)\n", done.stderr)
    assert said, done.stderr
    assert said[1] == str(file)
    assert REFUSED[name] in said[2]
    assert done.stdout == ""
    assert not out.exists()


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("name", sorted(SEARCHED))
def test_damaged_files_are_searched_with_one_warning(
    name: str,
    shared_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    searched, masked, warning = SEARCHED[name]
    file = shared_data / "bad" / name
    assert call("search", file, "-o", tmp_path, "-q", monkeypatch=monkeypatch) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["samples_searched"], summary["samples_masked"]) == (searched, masked)
    assert summary["samples"] == searched + masked
    assert summary["wall_seconds"] < SECONDS
    # one of them is a piece of the file of a burst: see below
    found = (tmp_path / "detections.jsonl").read_bytes().count(b"\n")
    assert found == (name == "nan_inf_32bit.fil")
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    (line,) = said
    assert warning in line


@pytest.mark.usefixtures("loaded")
def test_an_infinite_channel_is_masked_and_no_other(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recording has one bad channel of its own, which `--no-mask` lets through."""
    file = shared_data / "bad" / "nan_inf_32bit.fil"
    words = ("search", file, "-o", tmp_path, "-q")
    for option, channels in (("--mask", 2), ("--no-mask", 1)):
        assert call(*words, option, monkeypatch=monkeypatch) == 0
        with JournalReader(tmp_path / "journal.sqlite") as journal:
            assert next(journal.coverage()).masked_channels == channels


def test_a_damaged_file_takes_little_of_the_machine(shared_data: Path, tmp_path: Path) -> None:
    command = [str(MLPPA), "search", str(shared_data / "bad" / "nan_inf_32bit.fil")]
    process = os.posix_spawn(command[0], [*command, "-o", str(tmp_path), "-q"], os.environ)
    _, status, used = os.wait4(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["peak_memory_bytes"] < GIB
    # a second, but the first time kernels are compiled; twice the limit, for a busy machine
    assert used.ru_utime + used.ru_stime < 2 * SECONDS


def test_a_burst_that_the_file_cuts_is_found(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A piece of the file of the burst, which ends before it reaches the bottom of the band."""
    file = shared_data / "bad" / "nan_inf_32bit.fil"
    assert call("search", file, "-o", tmp_path, "-q", monkeypatch=monkeypatch) == 0
    (line,) = (tmp_path / "detections.jsonl").read_text().splitlines()
    found = json.loads(line)
    assert found["dm"] == pytest.approx(474, abs=5)
    assert found["time_s"] == pytest.approx(2.029, abs=0.003)
    assert found["snr"] > 9
    assert found["f_lo_mhz"] == 1130.0


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("nbits", [8, 2, 1])
def test_the_pulse_of_the_crab_is_a_candidate(
    nbits: int, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file ends before the pulse reaches 860 MHz, and it does not show above 1700 MHz."""
    file = shared_data / "real" / f"crab_parkes_uwl_{nbits}bit.fil"
    assert call("search", file, "-o", tmp_path, "-q", "--no-images", monkeypatch=monkeypatch) == 0
    lines = (tmp_path / "candidates.jsonl").read_text().splitlines()
    found = [one for one in map(json.loads, lines) if abs(one["time_s"] - 1.792) < 0.004]
    (pulse,) = [one for one in found if abs(one["dm"] - 56.77) < 1]
    assert pulse["snr"] > 6.6
    assert pulse["f_hi_mhz"] < 1800
    # its truth is told for 1400 MHz
    late_s = float(delay_s(56.77, 1400.0, 4030.0))
    assert pulse["time_s"] + late_s == pytest.approx(1.898, abs=0.004)
