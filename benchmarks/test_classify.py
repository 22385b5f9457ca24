"""The network: dT of a batch against the sky that it stands for."""

from functools import cache

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mlppa.classify import Classifier, load_model

from .conftest import Tell
from .telescope import GULP_S


@cache
def network(batch: int) -> Classifier:
    return load_model("spine-64", batch=batch, device="cpu")


@pytest.mark.parametrize("batch", [1, 32, 256])
def test_a_batch(batch: int, benchmark: BenchmarkFixture, tell: Tell) -> None:
    classifier = network(batch)
    rng = np.random.default_rng(1)
    images = rng.normal(size=(batch, 64, 64)).astype(np.float32)
    features = rng.uniform(1, 9, (batch, 4)).astype(np.float32)
    benchmark(classifier, images, features)
    if benchmark.stats:
        dt_s = benchmark.stats.stats.median
        tell(
            f"spine-64 on the CPU, batch {batch}: dT {dt_s * 1e3:.2f} ms, "
            f"{dt_s / batch * 1e6:.0f} us an image; "
            f"{GULP_S / dt_s:.0f} batches in the {GULP_S:.2f} s that a gulp lasts"
        )
