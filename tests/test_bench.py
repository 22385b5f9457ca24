"""The benchmark of the whole search runs, and says what it ran."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from mlppa import bench
from mlppa.bench.ceiling import additions_per_s
from mlppa.classify import model_card
from mlppa.config import Plan, SearchSettings
from mlppa.dedisperse import Octave
from mlppa.errors import EnvironmentFault
from mlppa.search import SearchPlan

from .calling import Call


def test_the_search_is_timed(call: Call) -> None:
    words = "bench search --case small --plan fast --threads 1 --repeats 2 --seconds 5 --json"
    ended = call(*words.split())
    assert ended.code == 0
    (timing,) = json.loads(ended.out)
    assert (timing["case"], timing["plan"], timing["threads"]) == ("small", "fast", 1)
    assert len(timing["real_time_factors"]) == 2
    assert 0 < timing["real_time_factors"][0] <= timing["real_time_factors"][1]
    assert 1e8 < timing["ceiling_per_s"] < 1e12
    assert 0.01 < timing["ceiling_share"] < 1
    assert {"read", "clean", "search", "publish"} <= set(timing["stage_seconds"])
    assert 50e6 < timing["peak_memory_bytes"] < 2**30


def test_every_case_has_the_band_and_the_dms_that_it_says() -> None:
    for case, nchans, tsamp_us, dm_max in (
        ("small", 256, 256, 1000),
        ("standard", 1024, 64, 2000),
        ("large", 4096, 64, 3000),
    ):
        header = bench.CASES[case].header
        assert header.nchans == nchans
        assert header.tsamp_s * 1e6 == pytest.approx(tsamp_us)
        assert bench.CASES[case].dm_max == dm_max
        assert header.fch1_mhz - header.foff_mhz * -0.5 == pytest.approx(1500, abs=2)
        assert header.nchans * -header.foff_mhz == pytest.approx(400)


def test_additions_are_counted_as_a_tree_makes_them() -> None:
    """Eight channels are one leaf, whose additions of 8 bits count half."""
    octave = Octave(0, np.arange(2), np.linspace(0, 1, 8), levels=1)
    plan = SearchPlan(np.linspace(1400, 1500, 8), 0.5, (octave,), 6.5, 64, 8)
    rows, samples_per_s = 2, 2
    # boxcars of 2, 3 and 4 samples; half as many pairs of samples, and their 3 and 4
    boxcars = 3 + (1 + 3) / 2
    assert additions_per_s(plan) == samples_per_s * rows * (7 / 2 + boxcars)


def test_the_screen_adds_up_far_less_than_brute_force() -> None:
    header = bench.CASES["small"].header
    plan = Plan.make(SearchSettings(dm_max=1000.0, subbands=False), header, 64)
    brute = plan.describe()["additions_per_s"]
    assert isinstance(brute, float)
    assert brute / 50 < additions_per_s(plan.search) < brute / 5


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no pinning on this system")
def test_a_search_is_pinned_to_as_many_processors_as_it_has_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    class Done:
        returncode, stderr = 3, "mlppa: error: no such thing"

    def run(command: list[str], **_: object) -> Done:
        commands.append(command)
        return Done()

    monkeypatch.setattr("mlppa.bench.search.subprocess.run", run)
    ways, told = [bench.Way("small", "fast", 1)], []
    timings = bench.time_searches(ways, tmp_path, bench.Runs(1, 5), lambda *now: told.append(now))
    with pytest.raises(EnvironmentFault, match="exit code 3: mlppa: error: no such thing"):
        next(timings)
    assert told == [("simulating small", 0, 2), ("small, fast, threads: 1", 0, 2)]
    ((_, _, program, *words),) = commands
    assert program.startswith("import os; os.sched_setaffinity(0, sorted(")
    assert "[:1])" in program
    assert words[words.index("--threads") + 1] == "1"


def test_networks_are_timed(call: Call, tmp_path: Path) -> None:
    words = f"bench dt --model spine-64 --batch 1 --batch 8 --threads 2 --json -o {tmp_path}"
    ended = call(*words.split())
    assert ended.code == 0
    timings = json.loads(ended.out)
    assert [(t["model"], t["way"], t["batch"], t["threads"]) for t in timings] == [
        ("spine-64", "onnx", 1, 2),
        ("spine-64", "onnx", 8, 2),
    ]
    for timing in timings:
        assert len(timing["per_image_s"]) >= 5
        assert 1e-6 < timing["dt_s"] < 1e-1
    assert (tmp_path / "dt.png").stat().st_size > 10_000


@pytest.mark.slow
def test_ours_is_ahead_of_a_call_for_each_image(call: Call) -> None:
    words = ["bench", "dt", "--model", "spine-64", "--way", "onnx", "--way", "predict(element)"]
    ended = call(*words, "--way", "predict(dataset)", "--way", "tensorflow", "-q")
    assert ended.code == 0
    ratio = re.search(r"spine-64: onnx, \d+ a call, is (\d+) times as fast", ended.out)
    assert ratio
    assert int(ratio[1]) > 300


def test_the_family_of_the_talk_is_built_for_timing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlppa.bench.dt.RESOLUTIONS", (32,))
    models = bench.untrained_family(tmp_path, lambda *now: None)
    assert [path.name for path in models] == ["32_1", "32_2", "32_3"]
    parameters = [model_card(path).facts["parameters"] for path in models]
    assert parameters == [803_690, 206_482, 7_166]
