"""Dedispersion and screen: against the oracle, and against real time."""

from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mlppa.dedisperse import Window
from mlppa.dedisperse.engine import Engine
from mlppa.dedisperse.oracle import Oracle
from mlppa.images import cut_images
from mlppa.rows import padded_rows
from mlppa.search import search
from mlppa.search.screen import Screen

from .conftest import Tell
from .telescope import GULP_S, HEADER, PLAN, cleaned, raw


def test_the_engine_against_the_oracle(benchmark: BenchmarkFixture, tell: Tell) -> None:
    """The same rows by both, in one run; the oracle sums as the trees do."""
    octave = replace(PLAN.search.octaves[0], sweeps=PLAN.search.octaves[0].sweeps[:256])
    outputs = 4 * octave.tile
    noise = np.random.default_rng(1).normal(0, 4, (HEADER.nchans, octave.halo + outputs))
    rows = padded_rows(np.rint(noise).astype(np.int8))
    engine = Engine(threads=1)
    threshold = 4.0 * 4.0 * HEADER.nchans**0.5
    windows = [Window(rows, octave, threshold)]
    (fast,) = benchmark(engine, windows)
    began = perf_counter()
    (slow,) = Oracle(engine.trees(octave))(windows)
    oracle_s = perf_counter() - began
    engine.close()
    assert len(slow.score) > 0
    np.testing.assert_array_equal(fast.score, slow.score)
    if benchmark.stats:
        least_s = benchmark.stats.stats.min
        brute = len(octave.sweeps) * HEADER.nchans * outputs
        tell(
            f"screen, one thread: {oracle_s / least_s:.0f} times the oracle; brute force "
            f"would need {brute / least_s / 1e9:.0f} G additions/s to be as fast"
        )


@pytest.mark.parametrize("threads", [1, 2])
def test_screen(threads: int, benchmark: BenchmarkFixture, tell: Tell) -> None:
    some = cleaned(raw())
    engine = Engine(threads)
    screen = Screen(PLAN.search, engine)

    def run() -> None:
        for gulp in some:
            screen(gulp, PLAN.search.threshold)

    benchmark(run)
    engine.close()
    if benchmark.stats:
        real_time = len(some) * GULP_S / benchmark.stats.stats.min
        rows = sum(len(o.sweeps) for o in PLAN.search.octaves)
        tell(
            f"screen, {HEADER.nchans} channels, {rows} DMs up to 500, threads: {threads}: "
            f"{real_time:.1f} times real time"
        )


def test_images(benchmark: BenchmarkFixture, tell: Tell) -> None:
    """What each candidate costs beyond the search."""
    engine = Engine(threads=1)
    items = list(search(cleaned(raw()), PLAN.search, engine))
    engine.close()
    some = [item for item in items if item.candidates]
    count = sum(len(item.candidates) for item in some)
    assert count > 0
    benchmark(lambda: list(cut_images(some, PLAN.search)))
    if benchmark.stats:
        tell(f"images of 64 pixels: {benchmark.stats.stats.min / count * 1e3:.2f} ms each")
