"""The whole chain in memory: however a stream is cut, what comes out is the same."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlppa.arrivals import Arrivals
from mlppa.channel import prefetch
from mlppa.clean.reels import FREE, Reel
from mlppa.data import Block, Candidate, FilterbankHeader, Report
from mlppa.decide import rejection
from mlppa.dedisperse.engine import Engine
from mlppa.errors import InputError
from mlppa.metrics import STAGES
from mlppa.pipeline import Live, Parts, pipeline
from mlppa.simulate import Interference, Sky
from mlppa.sources import Source
from mlppa.sources.memory import MemorySource
from mlppa.stopwatch import Stopwatch
from mlppa.watchdog import Ladder, Rung

from .conftest import MetricDelta
from .reports import assert_same, told
from .skies import HEADER, SETTINGS, SKY, found, kernel, plan_for, recorded
from .stand_in import load_model

#: The pulses of SKY among a carrier, a dead channel and a burst without dispersion.
BUSY = replace(
    SKY,
    interference=(
        Interference(kind="carrier", level=3.0, f_lo_mhz=1300, f_hi_mhz=1306),
        Interference(kind="dead", f_lo_mhz=1450, f_hi_mhz=1456),
        Interference(kind="burst", start_s=6.4, stop_s=6.41, level=2.0),
    ),
)
NSAMPLES = BUSY.nsamples

type Piece = tuple[int, int]


@cache
def spectra(sky: Sky = BUSY) -> NDArray[Any]:
    return recorded(sky).spectra


def parts(source: Source, **others: Any) -> Parts:
    return Parts(
        source=source,
        plan=plan_for(source.header),
        kernel=kernel(),
        classifier=load_model("spine-64"),
        min_probability=0.5,
        pictures=True,
        **others,
    )


def run(cuts: Sequence[int] = ()) -> list[Report]:
    return list(pipeline(parts(MemorySource(HEADER, spectra(), cuts))))


def lengths(edges: Sequence[int], gaps: Sequence[Piece]) -> list[int]:
    """Turn places of cuts, and gaps as (start, length), into the pieces of a MemorySource."""
    missing = np.zeros(NSAMPLES, np.bool_)
    for start, length in gaps:
        missing[start : start + length] = True
    turns = np.flatnonzero(np.diff(missing)) + 1
    places = sorted({0, NSAMPLES, *edges, *turns.tolist()})
    return [(a - b) if missing[a] else (b - a) for a, b in pairwise(places)]


@cache
def uncut(gaps: tuple[Piece, ...]) -> list[dict[str, Any]]:
    return told(run(lengths([], gaps)))


some_gaps = st.lists(st.tuples(st.integers(0, NSAMPLES - 1), st.integers(1, 3000)), max_size=2).map(
    tuple
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edges=st.lists(st.integers(1, NSAMPLES - 1), max_size=30), gaps=some_gaps)
@example(edges=list(range(1, NSAMPLES, 61)), gaps=())
@example(edges=[1, 2, 2048, 4095], gaps=((0, 100), (2047, 2)))
def test_however_a_stream_is_cut_every_report_is_the_same(
    edges: list[int], gaps: tuple[Piece, ...]
) -> None:
    assert_same(told(run(lengths(edges, gaps))), uncut(gaps))


def test_every_sample_is_accounted_for_and_counted(metric_delta: type[MetricDelta]) -> None:
    gap = (3000, 700)
    fates = ("searched", "missing")
    grown = {fate: metric_delta("mlppa_samples_total", fate=fate) for fate in fates}
    coverage = [report.coverage for report in run(lengths([], [gap]))]
    assert coverage[0].start == 0
    assert coverage[-1].stop == NSAMPLES
    assert all(a.stop == b.start for a, b in pairwise(coverage))
    assert all(c.searched + c.masked + c.missing + c.shed == c.stop - c.start for c in coverage)
    assert sum(c.missing for c in coverage) == grown["missing"]() == 700
    assert sum(c.searched for c in coverage) == grown["searched"]() == NSAMPLES - 700
    assert {c.masked_channels for c in coverage[:-1]} == {4}, "two dead, two of the carrier"


def test_pulses_come_out_and_the_burst_is_rejected_with_a_reason() -> None:
    decided = [d for report in run() for d in report.detections]
    pulses = [d for d in decided if d.label == "pulse"]
    times = [d.candidate.sample * HEADER.tsamp_s for d in pulses]
    assert times == pytest.approx([p.time_s for p in BUSY.pulses], abs=0.02)
    assert all(d.reason is None and d.picture is not None for d in pulses)
    others = [d for d in decided if d.label != "pulse"]
    assert any(abs(d.candidate.sample - 6405) < 20 for d in others), "the burst was seen"
    assert all(d.label == "rfi" and d.reason and d.picture is None for d in others)


def test_no_pictures_are_prepared_where_none_are_wanted() -> None:
    quick = replace(parts(MemorySource(HEADER, spectra())), pictures=False)
    decided = [d for report in pipeline(quick) for d in report.detections]
    assert decided
    assert all(d.picture is None for d in decided)


def test_an_error_of_the_source_comes_through_after_what_was_read() -> None:
    class Breaks(MemorySource):
        def blocks(self) -> Iterator[Block]:
            yield Block(0, spectra())
            raise InputError("disk", "cannot be read any more", "check it")

    reports = pipeline(parts(Breaks(HEADER, spectra())))
    assert next(reports).coverage.searched == plan_for(HEADER).gulp
    with pytest.raises(InputError, match="cannot be read"):
        list(reports)


def test_what_was_read_before_a_close_is_searched_to_its_end() -> None:
    source = MemorySource(HEADER, np.tile(spectra(), (4, 1)), [1000] * 32)
    reports = pipeline(parts(source))
    coverage = [next(reports).coverage]
    source.close()
    coverage += [report.coverage for report in reports]
    stop = coverage[-1].stop
    assert stop == coverage[-1].decided_to == sum(c.searched for c in coverage)
    assert stop % 1000 == 0, "the block at hand was the last"
    assert stop < 32_000


def test_there_is_room_for_all_gulps_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where who reads is slow, and all that may wait does."""
    held: list[int] = []
    advance = Reel.advance

    def counted(reel: Reel, start: int) -> Any:
        # as `Reel` counts: a list's, a loop's, and that of who counts
        held.append(sum(sys.getrefcount(owner) > FREE for owner in reel._owners))
        return advance(reel, start)

    monkeypatch.setattr(Reel, "advance", counted)
    source = MemorySource(HEADER, np.tile(spectra(), (6, 1)))
    plan = plan_for(HEADER)
    reports = pipeline(parts(source))
    for _ in reports:
        time.sleep(0.02)
    # beside those, one is being made
    assert max(held) + 1 <= plan.room.gulps
    assert max(held) + 2 >= plan.room.gulps, "nor is there far more"


def test_a_search_that_is_left_early_leaves_no_thread_behind() -> None:
    closed: list[bool] = []

    class Closes(MemorySource):
        def blocks(self) -> Iterator[Block]:
            try:
                yield from super().blocks()
            finally:
                closed.append(True)

    reports = pipeline(parts(Closes(HEADER, np.tile(spectra(), (12, 1)), [1000] * 98)))
    next(reports)
    reports.close()
    assert closed == [True]
    assert not {"screened", "clean"} & {thread.name for thread in threading.enumerate()}


def test_a_live_stream_sheds_what_it_cannot_search_and_says_so(
    metric_delta: type[MetricDelta],
) -> None:
    searching, produced = threading.Event(), threading.Event()

    class Hasty(MemorySource):
        def blocks(self) -> Iterator[Block]:
            for block in super().blocks():
                yield block
                assert searching.wait(20)
            produced.set()

    dropped = metric_delta("mlppa_dropped_total", queue="input live")
    source = Hasty(HEADER, np.tile(spectra(), (8, 1)), [5000], live=True)
    ladder = Ladder([Rung(plan_for(HEADER).search, load_model("spine-64"), 0.5)])
    live = Live(4, Arrivals(HEADER.tsamp_s), ladder)
    reports = pipeline(parts(source, live=live))
    coverage = [next(reports).coverage]
    searching.set()
    assert produced.wait(20)
    coverage += [report.coverage for report in reports]
    assert dropped() > 5
    assert coverage[0].start == 0
    assert coverage[-1].stop == 8 * NSAMPLES
    assert all(a.stop == b.start for a, b in pairwise(coverage))
    assert sum(c.missing for c in coverage) == 0
    assert sum(c.shed for c in coverage) == dropped() * plan_for(HEADER).gulp
    assert (live.arrivals.first, live.arrivals.newest) == (0, 8 * NSAMPLES)
    assert not {"clean", "input live"} & {thread.name for thread in threading.enumerate()}


def test_each_stage_is_timed() -> None:
    stopwatch = Stopwatch()
    began = time.perf_counter()
    list(pipeline(parts(MemorySource(HEADER, spectra()), stopwatch=stopwatch)))
    elapsed = time.perf_counter() - began
    seconds = stopwatch.seconds
    assert set(seconds) == set(STAGES) - {"inject", "publish", "plot"}
    threads = (
        *(("read", "clean"), ("wait", "screen")),
        ("search", "images", "classify", "decide"),
    )
    took = [sum(seconds[stage] for stage in stages) for stages in threads]
    assert max(took) <= elapsed
    assert sum(took) > 0.5 * elapsed


def slow(items: Iterable[int], pause_s: float) -> Iterator[int]:
    for item in items:
        time.sleep(pause_s)
        yield item


def test_a_stage_is_charged_its_own_time_only() -> None:
    stopwatch = Stopwatch()
    inner = stopwatch.timed("read", slow(range(5), 0.02))
    assert list(stopwatch.timed("search", slow(inner, 0.01))) == list(range(5))
    assert 0.1 <= stopwatch.seconds["read"] < 0.2
    assert 0.05 <= stopwatch.seconds["search"] < 0.1


def test_time_of_another_thread_is_not_taken_off() -> None:
    stopwatch = Stopwatch()

    def spawn() -> Iterator[int]:
        thread = threading.Thread(
            target=lambda: list(stopwatch.timed("clean", slow(range(2), 0.05)))
        )
        thread.start()
        thread.join()
        yield 1

    assert list(stopwatch.timed("wait", spawn())) == [1]
    assert stopwatch.seconds["clean"] >= 0.1
    assert stopwatch.seconds["wait"] >= 0.1


def test_an_error_in_a_stage_leaves_the_stopwatch_right() -> None:
    stopwatch = Stopwatch()

    def fails() -> Iterator[int]:
        yield 1
        raise InputError("a", "b", "c")

    with pytest.raises(InputError):
        list(stopwatch.timed("search", stopwatch.timed("read", fails())))
    assert list(stopwatch.timed("read", [1, 2])) == [1, 2]
    assert all(0 <= seconds < 0.1 for seconds in stopwatch.seconds.values())


@pytest.fixture
def candidate() -> Candidate:
    return Candidate(
        sample=1000.0,
        dm=100.0,
        dm_err=1.0,
        width_samples=4,
        snr=12.0,
        snr_zero_dm=2.0,
        octave=1,
    )


@pytest.mark.parametrize(
    ("change", "probability", "reason"),
    [
        ({}, 0.5, None),
        ({}, 0.499, "network: probability 0.499 < 0.5"),
        ({"snr_zero_dm": 12.0}, 1.0, "zero-dm: S/N 12.0 without dispersion"),
        ({"snr_zero_dm": 11.9}, 1.0, None),
        ({"dm": 3.9, "dm_err": 1.0, "snr_zero_dm": 11.0}, 1.0, "zero-dm: DM 3.90"),
        ({"dm": 3.9, "dm_err": 1.0, "snr_zero_dm": 10.9}, 1.0, None),
        ({"dm": 0.0, "dm_err": 0.0}, 1.0, "zero-dm: DM 0.00"),
        ({"dm": 4.5, "dm_err": 1.0, "snr_zero_dm": 11.0}, 1.0, None),
    ],
)
def test_verdicts(
    candidate: Candidate, change: dict[str, Any], probability: float, reason: str | None
) -> None:
    plan = plan_for(HEADER).search
    given_reason = rejection(replace(candidate, **change), plan, probability, 0.5)
    if reason is None:
        assert given_reason is None
    else:
        assert given_reason is not None
        assert given_reason.startswith(reason)


def test_a_dm_within_one_sample_of_sweep_is_no_dm(candidate: Candidate) -> None:
    coarse = FilterbankHeader(nchans=64, fch1_mhz=8000, foff_mhz=-3, tsamp_s=1e-3, tstart_mjd=60000)
    plan = plan_for(coarse).search
    assert plan.unit_dm > 100
    assert rejection(candidate, plan, 1.0, 0.5) is not None


def test_the_plan_knows_how_many_images_noise_gives() -> None:
    low = SETTINGS.model_copy(update={"threshold": 4.5})
    sky = Sky(header=HEADER, nsamples=30_000, seed=6)
    expected = 30 * plan_for(HEADER, low).noise_images_per_s
    assert 0.5 * expected < len(found(sky, low)) < 2 * expected


@pytest.mark.parametrize("processors", [2, 3])
def test_cleaning_has_a_thread_of_its_own_where_processors_are_left(
    monkeypatch: pytest.MonkeyPatch, processors: int
) -> None:
    usual, made = run(), list[str]()

    def noted(items: Iterable[Any], depth: int, *, name: str) -> Any:
        made.append(name)
        return prefetch(items, depth, name=name)

    monkeypatch.setattr("mlppa.pipeline.prefetch", noted)
    monkeypatch.setattr("mlppa.pipeline._processors", lambda: processors)
    assert [report.coverage for report in run()] == [report.coverage for report in usual]
    # the kernel of these tests has two threads
    assert made == (["screened"] if processors == 2 else ["screened", "clean"])


def test_on_one_processor_there_is_no_thread_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else changes."""
    usual = run()
    monkeypatch.setattr("mlppa.pipeline.prefetch", None)
    monkeypatch.setattr(Engine, "ahead", None)
    monkeypatch.setattr("mlppa.pipeline._processors", lambda: 1)
    alone = run()
    assert [report.coverage for report in alone] == [report.coverage for report in usual]
    found, again = ([d.candidate for r in some for d in r.detections] for some in (usual, alone))
    assert found == again
    assert found


WARM = """
import gc
from numba.core.registry import CPUDispatcher
from mlppa.pipeline import pipeline
from mlppa.warmup import warm_up
from tests.test_pipeline import HEADER, MemorySource, parts, spectra

def compiled():
    found = (one for one in gc.get_objects() if isinstance(one, CPUDispatcher))
    return {(one.py_func.__qualname__, str(s)) for one in found for s in one.signatures}

stream = parts(MemorySource(HEADER, spectra(), [3000, -50, 5150]))
before = compiled()
warm_up(stream.plan.search.res, stream.plan.header.nbits, stream.kernel)
warm = compiled()
assert any(report.detections for report in pipeline(stream))
late = compiled() - warm
assert len(warm - before) > 10, warm - before
assert not late, late
"""


@pytest.mark.slow
def test_nothing_is_compiled_once_data_flow() -> None:
    """A process of its own: in this one all may be compiled already."""
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", WARM], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
