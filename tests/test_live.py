"""A live stream: told soon, whatever the cut; shed, injected and judged as it should be."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlppa.arrivals import Arrivals
from mlppa.config import Plan
from mlppa.data import Block, Budget, Coverage, Gulp, Injection, Report
from mlppa.dispersion import sweep_s
from mlppa.gulps import gulps
from mlppa.inject import Injector, Rate, noise_of
from mlppa.pipeline import Live, Parts, pipeline
from mlppa.simulate import Pulse, Sky
from mlppa.sources.memory import MemorySource
from mlppa.watchdog import Ladder, Rung

from .reports import assert_same, told
from .skies import HEADER, PULSES, SETTINGS, SKY, kernel, recorded
from .stand_in import load_model

PLAN = Plan.make(SETTINGS, HEADER, 64, live=True)
NSAMPLES = SKY.nsamples


@cache
def spectra(sky: Sky = SKY) -> NDArray[Any]:
    return recorded(sky).spectra


def ladder(*thresholds: float) -> Ladder:
    rungs = [
        Rung(replace(PLAN.search, threshold=least), load_model("spine-64"), 0.5, str(least), n)
        for n, least in enumerate(thresholds or (PLAN.search.threshold,))
    ]
    return Ladder(rungs)


def parts(source: Any, injector: Injector | None = None, steps: Ladder | None = None) -> Parts:
    steps = steps or ladder()
    return Parts(
        source=source,
        plan=PLAN,
        kernel=kernel(),
        classifier=load_model("spine-64"),
        min_probability=0.5,
        live=Live(100_000, Arrivals(HEADER.tsamp_s), steps, injector),
    )


def run(cuts: Sequence[int] = ()) -> list[Report]:
    return list(pipeline(parts(MemorySource(HEADER, spectra(), cuts, live=True))))


@cache
def whole() -> list[dict[str, Any]]:
    return told(run())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(1, 3000), max_size=8))
def test_any_cut_of_a_live_stream_gives_the_same(lengths: list[int]) -> None:
    cuts = [n for n, total in zip(lengths, np.cumsum(lengths), strict=True) if total <= NSAMPLES]
    assert_same(told(run(cuts)), whole())


def test_all_pulses_are_told_and_soon() -> None:
    reports = run()
    late_s = []
    for pulse in PULSES:
        (here,) = [
            (report, d)
            for report in reports
            for d in report.detections
            if d.label == "pulse"
            and abs(d.candidate.sample * HEADER.tsamp_s - pulse.time_s) < 0.02
            and abs(d.candidate.dm - pulse.dm) < 10
        ]
        bottom_s = pulse.time_s + sweep_s(pulse.dm, HEADER.freqs_mhz)
        late_s.append(here[0].coverage.stop * HEADER.tsamp_s - bottom_s)
    gulp_s = PLAN.gulp * HEADER.tsamp_s
    # the last one is told when the stream ends
    assert all(0 < late < 2.2 * gulp_s for late in late_s[:-1]), late_s
    assert np.median(late_s[:-1]) < gulp_s, late_s
    assert sum(d.label == "pulse" for r in reports for d in r.detections) == len(PULSES)


class Silent(MemorySource):
    """Falls silent after its first piece, until it is closed."""

    def blocks(self) -> Iterator[Block]:
        begin = 0
        for block in super().blocks():
            yield block
            if begin == 0:
                yield Block(block.stop, block.spectra[:0])
                while not self._closed:
                    time.sleep(0.01)
                return
            begin = block.stop


def test_silence_lets_out_what_waits() -> None:
    # the bottom of the band of the second pulse has passed, its gulp has not
    end = round((2.1 + sweep_s(480.0, HEADER.freqs_mhz)) / HEADER.tsamp_s) + 300
    assert end % PLAN.gulp
    source = Silent(HEADER, spectra(), [end], live=True)
    reports = pipeline(parts(source))
    seen: list[float] = []
    for report in reports:
        seen += [d.candidate.dm for d in report.detections if d.label == "pulse"]
        if len(seen) == 2 and report.coverage.searched:
            # it came out while nothing came in and nobody had closed
            assert report.coverage.missing == -end % PLAN.gulp
            source.close()
    assert seen == [pytest.approx(60, abs=5), pytest.approx(480, abs=5)]


def test_what_comes_after_its_gulp_was_let_go_is_late() -> None:
    data = np.ones((5000, 3), np.uint8)
    blocks = [
        Block(0, data[:1000]),
        Block(1000, data[:0]),
        Block(1000, data[:500]),
        Block(1500, data[:1500]),
    ]
    first, second = gulps(blocks, 2048)
    assert (first.start, first.last, first.missing, first.quiet) == (0, 2048, 1048, True)
    assert (second.start, second.first, second.last, second.missing) == (2048, 2048, 3000, 0)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=6),
    st.booleans(),
)
def test_shed_gulps_are_accounted_to_the_sample(
    pieces: list[tuple[int, int]], begins_inside: bool
) -> None:
    """Gulps that are given up, with gaps between them, in one go or in several."""
    nothing = np.zeros((10, 1), np.uint8), np.zeros(10, np.bool_)
    dropped, at = [], 0
    for length, gap in pieces:
        for _ in range(length):
            first = at + (3 if begins_inside and at == 0 else 0)
            dropped.append(Gulp(at, *nothing, first=first, last=at + 10, missing=1))
            at += 10
        at += 10 * gap
    following = Gulp(at, *nothing, first=at, last=at + 10)
    together = following.after(dropped).shed
    half = len(dropped) // 2
    if half:
        twice = following.after([dropped[half].after(dropped[:half]), *dropped[half + 1 :]]).shed
        assert twice == together
    assert together is not None
    assert together.start == dropped[0].first
    assert together.nsamples == sum(one.last - one.first - 1 for one in dropped)


def test_a_ladder_takes_effect_at_the_next_batch() -> None:
    steps = ladder(7.0, 30.0)
    found: list[float] = []
    source = MemorySource(HEADER, spectra(), [500] * 16, live=True)
    for report in pipeline(parts(source, steps=steps)):
        if report.coverage.stop >= 3000:
            steps.step = 1
        found += [d.candidate.snr for d in report.detections if d.label == "pulse"]
    assert len(found) == 3
    assert min(found) < 20 < 30 < max(found)


def injector(per_hour: float, seed: int = 1) -> Injector:
    rate = Rate(per_hour, snr=(12.0, 30.0), dm=(60.0, 400.0), width_ms=(3.0, 12.0))
    return Injector(rate, HEADER, seed)


LONG = replace(SKY, nsamples=40_000, pulses=(Pulse(time_s=20.0, dm=150.0, width_ms=4.0, snr=25.0),))


def test_synthetic_pulses_are_found_marked_and_told_apart_from_the_sky() -> None:
    source = MemorySource(HEADER, spectra(LONG), [700] * 57, live=True)
    reports = list(pipeline(parts(source, injector(900))))
    put = [one for report in reports for one in report.injections]
    pulses = [d for report in reports for d in report.detections if d.label == "pulse"]
    assert len(put) >= 6
    assert all(one.found is not None and one.reason is None for one in put), put
    sky = [d for d in pulses if not d.injected]
    assert [d.candidate.dm for d in sky] == [pytest.approx(150, abs=4)]
    for one in put:
        assert one.found is not None
        assert one.found.injected
        assert one.found.candidate.snr == pytest.approx(one.snr, rel=0.3)
        assert abs(one.found.candidate.dm - one.dm) < 15
    assert all(a.sample < b.sample for a, b in pairwise(put))


def test_synthetic_pulses_do_not_depend_on_the_cut() -> None:
    def truths(cuts: Sequence[int]) -> list[tuple[float, float]]:
        source = MemorySource(HEADER, spectra(LONG), cuts, live=True)
        reports = pipeline(parts(source, injector(900)))
        return [(one.sample, one.dm) for report in reports for one in report.injections]

    once = truths([])
    # the noise is known a little sooner in short blocks, which is before the first pulse
    assert once
    assert truths([333] * 120) == once


def test_a_synthetic_pulse_in_a_hole_is_lost_and_not_missed() -> None:
    source = MemorySource(HEADER, spectra(LONG), [700] * 10 + [-3000] + [700] * 10, live=True)
    one = injector(0.001)
    one._next = 6980
    reports = list(pipeline(parts(source, one)))
    (put,) = [one for report in reports for one in report.injections]
    assert put.found is None
    assert put.reason == "not searched"


def test_noise_is_measured_beside_pulses_and_slow_changes() -> None:
    rng = np.random.default_rng(3)
    data = rng.normal(100, 5, (4096, 8)).astype(np.float32)
    data += np.linspace(0, 300, 4096, dtype=np.float32)[:, None]
    data[1000:1010] += 500
    data[:, 3] = 7
    data[:, 4] = np.nan
    data[500] = np.nan
    data[700, 5] = np.inf
    std = noise_of(data)
    assert std[[0, 1, 2, 5, 6, 7]] == pytest.approx(5, rel=0.1)
    assert std[3] == std[4] == 0


def test_a_miss_beside_a_few_lost_samples_is_a_miss() -> None:
    """A stream that loses a percent of its samples could still see."""
    one = injector(900)
    one._known = [Injection(sample=5000.0, dm=100.0, width_ms=5.0, snr=20.0, boxcar_samples=5)]

    def told(missing: int) -> str | None:
        fate = Coverage(
            start=4096,
            stop=8192,
            searched=4096 - missing,
            masked=0,
            missing=missing,
            decided_to=8000,
        )
        held = list(one._known)
        (report,) = one.mark([Report(fate, Budget(dt_s=0, budget_s=4), ())], PLAN.search)
        one._known = held
        one._coverage.clear()
        (put,) = report.injections
        return put.reason

    assert told(40) == "not proposed"
    assert told(2000) == "not searched"


@pytest.mark.parametrize("nbits", [1, 2, 4, 8, 16, 32])
def test_pulses_are_put_into_every_number_type(nbits: int) -> None:
    header = replace(HEADER, nbits=nbits)
    sky = replace(LONG, header=header, pulses=(), nsamples=12_000)
    before = spectra(sky)
    rate = Rate(700, snr=(30.0, 30.0), dm=(60.0, 61.0), width_ms=(8.0, 8.0))
    one = Injector(rate, header, 1)
    after = np.concatenate([b.spectra for b in one.inject(MemorySource(header, before).blocks())])
    assert after.dtype == before.dtype
    added = after.astype(float) - before
    assert (added.sum(axis=0) > 0).mean() > 0.9
    if nbits < 8:
        assert after.max() < 2**nbits


def test_arrivals_know_when_samples_came() -> None:
    arrivals = Arrivals(1e-3)
    data = np.zeros((10, 2), np.uint8)
    blocks = [Block(0, data, None, 1.0), Block(10, data, None, 2.0), Block(40, data, None, 5.0)]
    assert len(list(arrivals.note(blocks))) == 3
    assert arrivals.first == 0
    assert (arrivals.newest, arrivals.newest_s) == (50, 5.0)
    assert [arrivals.received_at(n) for n in (0, 9, 10, 25, 49)] == [1.0, 1.0, 2.0, 5.0, 5.0]
    assert arrivals.received_at(1000) == 5.0
    assert arrivals.pace == 1.0


def test_the_pace_is_that_of_the_stream() -> None:
    arrivals = Arrivals(1e-3)
    data = np.zeros((10, 2), np.uint8)
    # 10 ms of sky every 5 ms
    list(arrivals.note(Block(10 * n, data, None, 0.005 * n) for n in range(200)))
    assert arrivals.pace == pytest.approx(2.0)
