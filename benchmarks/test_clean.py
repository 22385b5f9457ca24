"""Cleaning: how many times faster than the telescope records."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .conftest import Tell
from .telescope import GULP_S, cleaned, raw


@pytest.mark.parametrize("nbits", [8, 32])
def test_clean(nbits: int, benchmark: BenchmarkFixture, tell: Tell) -> None:
    some = raw(nbits=nbits)
    benchmark(cleaned, some)
    if benchmark.stats:
        real_time = len(some) * GULP_S / benchmark.stats.stats.min
        tell(f"clean, 512 channels of {nbits} bit: {real_time:.1f} times real time, one thread")
