"""Dedispersion and screen: against the oracle, and against real time."""

from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mlppa.data import History
from mlppa.dedisperse import BLOCK, oracle
from mlppa.dedisperse.brute import BruteForce
from mlppa.images import cut_images
from mlppa.search import screen, search

from .conftest import Tell
from .telescope import GULP_S, HEADER, PLAN, cleaned, raw


def test_brute_force_against_the_oracle(benchmark: BenchmarkFixture, tell: Tell) -> None:
    """The same few rows by both, in one run."""
    octave = PLAN.search.octaves[0]
    few = replace(octave, sweeps=octave.sweeps[:32], delays=octave.delays[:32])
    nout = 4096 - 4096 % BLOCK
    rows = cleaned(raw())[0].octaves[0]
    rows = np.tile(rows, 2)[:, : few.halo + nout]
    kernel = BruteForce(threads=1)
    fast = benchmark(kernel, rows, few)
    kernel.close()
    began = perf_counter()
    slow = oracle.screen(rows, few)
    oracle_s = perf_counter() - began
    np.testing.assert_array_equal(fast.score, slow.score)
    if benchmark.stats:
        least_s = benchmark.stats.stats.min
        additions = len(few.sweeps) * HEADER.nchans * nout
        tell(
            f"screen, one thread: {oracle_s / least_s:.1f} times the oracle, "
            f"{additions / least_s / 1e9:.1f} G additions/s"
        )


@pytest.mark.parametrize("threads", [1, 2])
def test_screen(threads: int, benchmark: BenchmarkFixture, tell: Tell) -> None:
    gulp = cleaned(raw())[1]
    history = History().extend(gulp, PLAN.search.memory)
    kernel = BruteForce(threads)
    benchmark(screen, history, gulp, PLAN.search, kernel)
    kernel.close()
    if benchmark.stats:
        real_time = GULP_S / benchmark.stats.stats.min
        rows = sum(len(o.sweeps) for o in PLAN.search.octaves)
        tell(
            f"screen, 512 channels, {rows} DMs up to 500, {threads} threads: "
            f"{real_time:.1f} times real time"
        )


def test_refine_and_cut(benchmark: BenchmarkFixture, tell: Tell) -> None:
    """What each candidate costs beyond the screen."""
    kernel = BruteForce(threads=1)
    items = list(search(cleaned(raw()), PLAN.search, kernel))
    kernel.close()
    some = [item for item in items if item.candidates]
    count = sum(len(item.candidates) for item in some)
    assert count > 0
    benchmark(lambda: list(cut_images(some, PLAN.search)))
    if benchmark.stats:
        tell(f"images: {benchmark.stats.stats.min / count * 1e3:.2f} ms each, 64 pixels")
