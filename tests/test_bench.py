"""The benchmark of the whole search runs, and says what it ran."""

import json
import os
from pathlib import Path

import pytest

from mlppa import bench
from mlppa.errors import EnvironmentFault

from .calling import Call


def test_the_search_is_timed(call: Call) -> None:
    words = "bench search --case small --plan fast --threads 1 --repeats 2 --seconds 5 --json"
    ended = call(*words.split())
    assert ended.code == 0
    (timing,) = json.loads(ended.out)
    assert (timing["case"], timing["plan"], timing["threads"]) == ("small", "fast", 1)
    assert len(timing["real_time_factors"]) == 2
    assert 0 < timing["real_time_factors"][0] <= timing["real_time_factors"][1]
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

    monkeypatch.setattr("mlppa.bench.subprocess.run", run)
    ways, told = [bench.Way("small", "fast", 1)], []
    timings = bench.time_searches(ways, tmp_path, bench.Runs(1, 5), lambda *now: told.append(now))
    with pytest.raises(EnvironmentFault, match="exit code 3: mlppa: error: no such thing"):
        next(timings)
    assert told == [("simulating small", 0, 2), ("small, fast, threads: 1", 0, 2)]
    ((_, _, program, *words),) = commands
    assert program.startswith("import os; os.sched_setaffinity(0, sorted(")
    assert "[:1])" in program
    assert words[words.index("--threads") + 1] == "1"
