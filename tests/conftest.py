"""What several test modules share."""

import os
import signal
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from mlppa.classify import Classifier, load_model

from .calling import call as call  # a fixture

# A shell that runs the tests in the background has interrupts ignored, and programs that
# the tests start and interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings; the test is skipped where there is none."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MLPPA_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there (set MLPPA_TEST_DATA)")
    return folder


class MetricDelta:
    """How much a metric has grown since this was made.

    >>> dropped = MetricDelta("mlppa_dropped_total", queue="read")
    >>> dropped()
    0.0
    """

    def __init__(self, name: str, **labels: str) -> None:
        self._name = name
        self._labels = labels
        self._before = REGISTRY.get_sample_value(name, labels) or 0.0

    def __call__(self) -> float:
        now = REGISTRY.get_sample_value(self._name, self._labels)
        assert now is not None, f"no metric {self._name}{self._labels}"
        return now - self._before


@pytest.fixture(scope="session")
def network() -> Classifier:
    """Load the network that comes with the program, once for all."""
    return load_model("spine-64", device="cpu")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, network: Classifier) -> None:
    """Let searches in this process use that one."""
    monkeypatch.setattr("mlppa.offline.load_model", lambda *_, **__: network)


@pytest.fixture
def metric_delta() -> type[MetricDelta]:
    """``grown = metric_delta(name, label="value")``; later ``grown()`` tells by how much."""
    return MetricDelta
