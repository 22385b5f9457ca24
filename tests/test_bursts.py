"""One burst is one candidate however bright, neighbours stay two, and storms pass in time."""

import logging
import tracemalloc
from time import thread_time

import numpy as np
import pytest

from mlppa.config import SearchSettings
from mlppa.data import Candidate, FilterbankHeader
from mlppa.search import SearchPlan
from mlppa.simulate import Interference, Pulse, Sky, SkySource

from .conftest import MetricDelta
from .skies import HEADER, found, plan_for, searched

WIDE = FilterbankHeader(
    nchans=256, fch1_mhz=1500.0, foff_mhz=-1.25, tsamp_s=512e-6, tstart_mjd=60000.0, nbits=32
)
DEEP = SearchSettings(dm_max=2200.0, threshold=7.0)
SETTINGS = SearchSettings(dm_max=600.0, threshold=7.0)


@pytest.mark.parametrize("snr", [20.0, 50.0, 300.0])
@pytest.mark.parametrize("width_ms", [0.512, 4.0, 50.0])
def test_a_burst_is_one_candidate(snr: float, width_ms: float) -> None:
    """Its side lobes in DM, time and width are none."""
    pulses = tuple(
        Pulse(time_s=time_s, dm=dm, width_ms=width_ms, snr=snr)
        for time_s, dm in ((1.5, 5.0), (8.0, 50.0), (14.5, 500.0), (21.0, 2000.0))
    )
    sky = Sky(header=WIDE, nsamples=round(26 / WIDE.tsamp_s), pulses=pulses, seed=int(snr))
    candidates = found(sky, DEEP)
    assert len(candidates) == len(pulses)
    for pulse, candidate in zip(pulses, candidates, strict=True):
        assert abs(candidate.dm - pulse.dm) < max(5, 4 * candidate.dm_err)
        assert candidate.snr > 0.75 * snr


@pytest.mark.parametrize("scatter_ms", [5.0, 20.0])
def test_the_tail_of_a_burst_is_no_candidate(scatter_ms: float) -> None:
    pulses = tuple(
        Pulse(time_s=time_s, dm=dm, width_ms=1.0, snr=300.0, scatter_ms=scatter_ms)
        for time_s, dm in ((1.5, 50.0), (4.5, 500.0))
    )
    sky = Sky(header=WIDE, nsamples=round(7 / WIDE.tsamp_s), pulses=pulses, seed=2)
    assert len(found(sky, SETTINGS)) == len(pulses)


def pairs(apart_ms: float, width_ms: float, snrs: tuple[float, float]) -> tuple[Pulse, ...]:
    return tuple(
        Pulse(time_s=first + late_ms * 1e-3, dm=dm, width_ms=width_ms, snr=snr)
        for first, dm in ((1.5, 50.0), (4.0, 300.0))
        for late_ms, snr in ((0.0, snrs[0]), (apart_ms, snrs[1]))
    )


def near(candidate: Candidate, pulse: Pulse) -> bool:
    late_s = abs(candidate.sample * WIDE.tsamp_s - pulse.time_s)
    return late_s < (1.2 * pulse.width_ms + 1.5) * 1e-3 and abs(candidate.dm - pulse.dm) < 15


@pytest.mark.parametrize("snrs", [(25.0, 25.0), (20.0, 50.0), (100.0, 15.0)])
@pytest.mark.parametrize(
    ("width_ms", "apart_ms"),
    [(2.0, 15.0), (4.0, 25.0), (4.0, 60.0), (16.0, 80.0), (16.0, 240.0)],
)
def test_neighbours_stay_apart(width_ms: float, apart_ms: float, snrs: tuple[float, float]) -> None:
    """Even where the screen has one block for both: its blocks are 32 ms and longer here."""
    pulses = pairs(apart_ms, width_ms, snrs)
    sky = Sky(header=WIDE, nsamples=round(6.5 / WIDE.tsamp_s), pulses=pulses, seed=4)
    candidates = found(sky, SETTINGS)
    for pulse in pulses:
        assert sum(near(candidate, pulse) for candidate in candidates) == 1, pulse
    assert len(candidates) == len(pulses)


def test_a_burst_over_thousands_of_trials_is_settled_in_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another program needs minutes and 16 GB for this one, and finds nothing."""
    header = FilterbankHeader(
        nchans=256, fch1_mhz=1500.0, foff_mhz=-1.5625, tsamp_s=64e-6, tstart_mjd=60000.0, nbits=32
    )
    settings = SearchSettings(dm_max=2000.0, threshold=6.5, dm_tol=0.15)
    rows = sum(len(octave.sweeps) for octave in plan_for(header, settings).search.octaves)
    assert rows > 6000
    pulse = Pulse(time_s=2.0, dm=500.0, width_ms=5.0, snr=300.0)
    sky = Sky(header=header, nsamples=round(7 / header.tsamp_s), pulses=(pulse,), seed=1)
    from mlppa.search.waiting import Waiting

    settle, took_s = Waiting.settle, [0.0]

    def timed(*args: object) -> object:
        began = thread_time()
        result = settle(*args)  # type: ignore[arg-type]
        took_s[0] += thread_time() - began
        return result

    monkeypatch.setattr(Waiting, "settle", timed)
    tracemalloc.start()
    items = searched(SkySource(sky).blocks(), header, settings)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (candidate,) = [c for item in items for c in item.candidates]
    assert candidate.snr == pytest.approx(300, rel=0.1)
    assert not any(item.coverage.storm for item in items)
    assert took_s[0] < 1
    assert peak_bytes < 2**30


def storm(seconds: float) -> Sky:
    """Short bursts of interference, and a pulse when they are over."""
    bursts = tuple(
        Interference(kind="burst", start_s=t, stop_s=t + 0.01, level=8.0)
        for t in np.arange(0.1, 1.9, 0.1)
    )
    pulse = Pulse(time_s=4.5, dm=300.0, width_ms=4.0, snr=20.0)
    nsamples = round(seconds / HEADER.tsamp_s)
    return Sky(header=HEADER, nsamples=nsamples, pulses=(pulse,), interference=bursts, seed=1)


@pytest.mark.parametrize("kind", ["peak", "candidate"])
def test_a_storm_is_flagged_counted_and_told_once(
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    metric_delta: type[MetricDelta],
    caplog: pytest.LogCaptureFixture,
) -> None:
    if kind == "peak":
        monkeypatch.setattr("mlppa.search.waiting.MOST_TRIGGERS", 500)
    else:
        monkeypatch.setattr(SearchPlan, "most_measured", lambda *_: 2)
    dropped = metric_delta("mlppa_storm_dropped_total", kind=kind)
    with caplog.at_level(logging.WARNING):
        items = searched(SkySource(storm(16.0)).blocks(), HEADER)
    stormy = [item.coverage.storm for item in items]
    assert any(stormy)
    assert not stormy[-2]
    assert dropped() > 0
    assert [r.name for r in caplog.records if "storm" in r.message] == ["mlppa.search.waiting"]
    assert any(abs(c.dm - 300) < 5 for item in items for c in item.candidates)


def test_the_strongest_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    pulses = tuple(
        Pulse(time_s=0.4 + 0.1 * i, dm=100.0, width_ms=4.0, snr=15.0 + 10 * (i % 3))
        for i in range(12)
    )
    sky = Sky(header=HEADER, nsamples=4000, pulses=pulses, seed=1)
    everything = sorted((c.snr for c in found(sky)), reverse=True)
    assert len(everything) == len(pulses)
    monkeypatch.setattr(SearchPlan, "most_measured", lambda *_: 3)
    kept = sorted((c.snr for c in found(sky)), reverse=True)
    assert 3 <= len(kept) < len(pulses)
    assert kept[:2] == pytest.approx(everything[:2])
    assert np.mean(kept) > np.mean(everything)


def test_more_is_measured_where_it_is_cheaper() -> None:
    few, many = plan_for(HEADER).search, plan_for(WIDE).search
    a_second = 1 / few.tsamp_s
    assert few.most_measured(a_second) > 1.5 * many.most_measured(1 / many.tsamp_s)
    assert few.most_measured(2 * a_second) > 1.5 * few.most_measured(a_second)
    assert few.most_measured(0) >= 1
