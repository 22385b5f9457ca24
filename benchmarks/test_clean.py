"""Cleaning: how many times faster than the telescope records, and at what cost."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mlppa.clean import Room, clean
from mlppa.data import Block, CleanGulp
from mlppa.gulps import gulps

from .conftest import Tell
from .telescope import GULP_S, cleaned, raw


@dataclass(frozen=True)
class Stream:
    """One gulp of noise."""

    nchans: int
    tsamp_s: float
    nsamples: int
    baseline: int

    def blocks(self, dtype: str) -> Iterator[Block]:
        """Give it as a file would, two megabytes at a time."""
        rng = np.random.default_rng(1)
        noise = 100 + 20 * rng.standard_normal((self.nsamples, self.nchans), np.float32)
        spectra = np.clip(np.rint(noise), 0, 255).astype(dtype)
        step = (1 << 21) // spectra[0].nbytes
        for start in range(0, self.nsamples, step):
            yield Block(start, spectra[start : start + step])


STREAMS = {
    "1024 channels, 64 us": Stream(1024, 64e-6, 32768, 6250),
    "256 channels, 256 us": Stream(256, 256e-6, 16384, 1562),
}


@pytest.mark.parametrize("nbits", [8, 32])
def test_clean(nbits: int, benchmark: BenchmarkFixture, tell: Tell) -> None:
    some = raw(nbits=nbits)
    benchmark(cleaned, some)
    if benchmark.stats:
        real_time = len(some) * GULP_S / benchmark.stats.stats.min
        tell(f"clean, 512 channels of {nbits} bit: {real_time:.1f} times real time, one thread")


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("name", STREAMS)
def test_gulps_and_clean(name: str, dtype: str, benchmark: BenchmarkFixture, tell: Tell) -> None:
    stream = STREAMS[name]
    blocks = list(stream.blocks(dtype))

    def run() -> list[CleanGulp]:
        return list(clean(gulps(blocks, stream.nsamples), Room(), stream.baseline))

    (gulp,) = benchmark(run)
    assert gulp.good.all()
    if benchmark.stats:
        cost = 1e3 * benchmark.stats.stats.min / (stream.nsamples * stream.tsamp_s)
        tell(f"gulps and clean, {name}, {dtype}: {cost:.2f} ms of CPU a second of data")
