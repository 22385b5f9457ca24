"""The kernel against the oracle, the oracle against the law, the plan against its promise."""

import inspect
import os
import threading
import time
from collections.abc import Generator, Iterator
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlppa.bench import CASES
from mlppa.config import Plan, SearchSettings
from mlppa.data import Int8Array
from mlppa.dedisperse import (
    BLOCK,
    GROUP,
    MARGIN,
    Grid,
    Kernel,
    Octave,
    Peaks,
    Window,
    octaves,
    oracle,
)
from mlppa.dedisperse.boxcars import SCORE_COUNTS, scores
from mlppa.dedisperse.engine import Engine
from mlppa.dedisperse.exact import shift_sum
from mlppa.dedisperse.oracle import Oracle, exact_delays, tree_sums
from mlppa.dedisperse.tree import node_delays, plan_tree
from mlppa.dispersion import channel_shape, delay_s, dm_per_sample
from mlppa.errors import InputError
from mlppa.rows import empty_rows, padded_rows

ENGINE = Engine(threads=2)
ALL = -1e9


def rows_for(octave: Octave, tiles: int, seed: int, most: int = 15) -> Int8Array:
    rng = np.random.default_rng(seed)
    rows = empty_rows(len(octave.shape), octave.halo + tiles * octave.tile)
    rows[:] = rng.integers(-most, most + 1, rows.shape)
    return rows


def peaks_of(kernel: Kernel, rows: Int8Array, octave: Octave, threshold: float) -> Peaks:
    (peaks,) = kernel([Window(rows, octave, threshold)])
    return peaks


def as_the_engine(octave: Octave) -> Oracle:
    return Oracle(ENGINE.trees(octave))


def assert_same(one: Peaks, other: Peaks) -> None:
    np.testing.assert_array_equal(one.group, other.group)
    np.testing.assert_array_equal(one.block, other.block)
    np.testing.assert_array_equal(one.score, other.score)
    np.testing.assert_array_equal(one.level, other.level)


@given(
    nchans=st.integers(2, 80),
    order=st.sampled_from(["down", "up", "shuffled"]),
    dm_max=st.floats(1, 200),
    delays=st.sampled_from([64, 100, 500]),
    width_s=st.sampled_from([0.004, 0.02, 0.1, 0.5]),
    tiles=st.integers(1, 3),
    seed=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_the_engine_equals_the_oracle(
    nchans: int, order: str, dm_max: float, delays: int, width_s: float, tiles: int, seed: int
) -> None:
    freqs = np.linspace(1500, 1200, nchans)
    if order == "up":
        freqs = freqs[::-1]
    if order == "shuffled":
        freqs = np.random.default_rng(seed).permutation(freqs)
    grid = Grid(dm_max=dm_max, width_max_s=width_s, delays_per_octave=delays)
    for octave in octaves(grid, freqs, 1e-3):
        rows = rows_for(octave, tiles, seed)
        rows[seed % nchans] = 0  # a masked channel
        plain = as_the_engine(octave)
        assert_same(peaks_of(ENGINE, rows, octave, ALL), peaks_of(plain, rows, octave, ALL))
        threshold = 3.0 * rows.std() * np.sqrt(nchans)
        assert_same(
            peaks_of(ENGINE, rows, octave, threshold), peaks_of(plain, rows, octave, threshold)
        )


@given(
    sweeps=st.lists(st.integers(0, 700), min_size=1, max_size=30, unique=True),
    nchans=st.integers(2, 100),
)
@settings(max_examples=25, deadline=None)
def test_any_list_of_sweeps_can_be_planned(sweeps: list[int], nchans: int) -> None:
    shape = channel_shape(np.linspace(800, 400, nchans))
    octave = Octave(0, np.array(sorted(sweeps)), shape, 3)
    rows = rows_for(octave, 1, seed=1)
    assert_same(
        peaks_of(ENGINE, rows, octave, ALL),
        peaks_of(as_the_engine(octave), rows, octave, ALL),
    )


@pytest.mark.parametrize("nchans", [300, 1100])
def test_deep_trees_equal_the_oracle(nchans: int) -> None:
    shape = channel_shape(np.linspace(1500, 1100, nchans))
    octave = Octave(0, np.arange(0, 300, 7), shape, 6)
    rows = rows_for(octave, 3, seed=5)
    assert_same(
        peaks_of(ENGINE, rows, octave, ALL),
        peaks_of(as_the_engine(octave), rows, octave, ALL),
    )


@pytest.mark.parametrize("nchans", [16, 100, 1024])
def test_the_tree_keeps_close_to_the_law(nchans: int) -> None:
    freqs = np.linspace(1500, 1100, nchans)
    (octave,) = octaves(Grid(dm_max=40, width_max_s=0.01), freqs, 64e-6)
    error = ENGINE.delays(octave) - np.multiply.outer(octave.sweeps, octave.shape)
    assert error.std() < 0.55  # rounding alone is 0.29
    assert np.abs(error).max() < 2.5
    assert np.abs(error.mean(axis=1)).max() <= 0.5
    assert error.max() <= MARGIN / 2


@pytest.mark.parametrize("nchans", [256, 1024])
def test_rounding_is_small_and_adds_no_pattern(nchans: int) -> None:
    tree = plan_tree(channel_shape(np.linspace(1500, 1100, nchans)), np.arange(0, 200, 9))
    rows = np.random.default_rng(4).normal(0, 4, (nchans, 4500)).round().astype(np.int8)
    rows[8:24] = 0  # masked: two of the four parts of one sum
    exact = shift_sum(rows, node_delays(tree), 4096)
    error = tree_sums(tree, rows.astype(np.int32))[:, :4096] - exact
    assert error.var() < 0.006 * exact.var()
    every_other = error[:, ::2].mean(axis=1), error[:, 1::2].mean(axis=1)
    assert np.abs(every_other).max() < 0.1 * exact.std()
    assert np.abs(error.mean(axis=1)).max() < 0.005 * exact.std()


def test_bright_bursts_saturate_and_are_found() -> None:
    freqs = np.linspace(1500, 1200, 64)
    (octave,) = octaves(Grid(dm_max=100, width_max_s=0.05), freqs, 1e-3)
    rows = rows_for(octave, 1, seed=1, most=8)
    rows[:, octave.halo + 100 :] = 127
    peaks = peaks_of(ENGINE, rows, octave, 0.9 * 64 * 127 / 8)
    assert len(peaks.score)
    assert peaks.score.max() <= 32767 * SCORE_COUNTS


def test_rows_of_any_layout_are_taken() -> None:
    freqs = np.linspace(1500, 1200, 20)
    (octave,) = octaves(Grid(dm_max=100, width_max_s=0.05), freqs, 1e-3)
    rows = rows_for(octave, 1, seed=2)
    assert padded_rows(rows) is rows
    longer = empty_rows(20, rows.shape[1] + 1000)
    stretch = longer[:, 500 : 500 + rows.shape[1]]
    stretch[:] = rows
    assert padded_rows(stretch) is stretch
    assert_same(peaks_of(ENGINE, stretch, octave, ALL), peaks_of(ENGINE, rows, octave, ALL))
    for other in (np.ascontiguousarray(rows), np.asfortranarray(rows), rows[:, ::1].copy("K")):
        assert_same(peaks_of(ENGINE, other, octave, ALL), peaks_of(ENGINE, rows, octave, ALL))


def test_scores_are_boxcar_sums_over_the_root_of_their_width() -> None:
    row = np.random.default_rng(3).normal(0, 200, 64 + 256).astype(np.int32)
    best = scores(row, 4, 256)
    total = np.concatenate([[0], np.cumsum(row)])
    for level, widths in enumerate([(1, 2, 3, 4), (6, 8), (12, 16), (24, 32), (48, 64)]):
        step = 2**level
        for end in range(step - 1, 256, step):
            last = 64 + end + 1
            exact = max((total[last] - total[last - w]) / np.sqrt(w) for w in widths)
            assert SCORE_COUNTS * best[level, end] == pytest.approx(exact, abs=8)


@given(st.integers(1, 20), st.integers(1, 50), st.integers(0, 9))
@settings(deadline=None)
def test_shift_sum_equals_the_oracle(nchans: int, nout: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-127, 128, (nchans, 100)).astype(np.int8)
    shifts = rng.integers(0, 100 - nout, (5, nchans))
    np.testing.assert_array_equal(
        shift_sum(rows, shifts, nout), oracle.shift_sum(rows, shifts, nout)
    )


@pytest.mark.parametrize("dm", [0.0, 31.0, 173.0, 390.0])
def test_a_dispersed_impulse_is_whole_in_the_row_of_its_dm(dm: float) -> None:
    freqs = np.linspace(1500, 1201, 64)
    (octave,) = octaves(Grid(dm_max=400, width_max_s=0.01), freqs, 1e-3)
    row = int(np.abs(octave.sweeps * dm_per_sample(freqs, 1e-3) - dm).argmin())
    exact_dm = octave.sweeps[row] * dm_per_sample(freqs, 1e-3)
    rows = padded_rows(np.zeros((64, octave.halo + octave.tile), np.int8))
    delays = np.floor(delay_s(exact_dm, freqs, freqs.max()) / 1e-3 + 0.5).astype(int)
    np.testing.assert_array_equal(delays, exact_delays(octave)[row])
    # it leaves the bottom of the band at output 70
    rows[np.arange(64), octave.halo + 70 - octave.sweeps[row] + delays] = 100
    peaks = peaks_of(Oracle(), rows, octave, 6300)
    assert peaks.group.tolist() == [row // GROUP]
    assert peaks.block.tolist() == [(70 + MARGIN // 2) // BLOCK]
    assert peaks.score[0] == pytest.approx(6400, rel=0.001)
    assert peaks.level[0] == 0


def test_octaves_leave_no_dm_out() -> None:
    freqs = np.linspace(1500, 1100, 1024)
    plan = octaves(Grid(dm_max=2000, width_max_s=0.1), freqs, 64e-6)
    unit = dm_per_sample(freqs, 64e-6)
    firsts = [float(o.sweeps[0] << o.index) * unit for o in plan]
    lasts = [float(o.sweeps[-1] << o.index) * unit for o in plan]
    assert firsts[0] == 0
    assert lasts[-1] >= 2000
    assert all(nxt <= last for nxt, last in zip(firsts[1:], lasts[:-1], strict=True))
    for octave in plan:
        # a trial is never further than the smearing of a channel from its neighbour
        assert np.diff(octave.sweeps).min() >= 1
        assert np.diff(octave.sweeps).max() <= max(1, 0.02 * octave.sweeps[-1])


@pytest.mark.parametrize("index", [4, 6, 9])
@pytest.mark.parametrize("levels", [0, 4, 6, 8])
@pytest.mark.parametrize("tiles", [1, 3])
def test_coarse_octaves_come_in_short_pieces(index: int, levels: int, tiles: int) -> None:
    shape = channel_shape(np.linspace(1500, 1200, 64))
    octave = Octave(index, np.arange(0, 300, 9), shape, levels)
    assert octave.tile == max(BLOCK, 1 << levels)
    rows = rows_for(octave, tiles, seed=levels)
    assert_same(
        peaks_of(ENGINE, rows, octave, ALL),
        peaks_of(as_the_engine(octave), rows, octave, ALL),
    )


@pytest.mark.parametrize(
    ("plan", "edges"), [("quality", [348, 695, 1001]), ("fast", [174, 347, 695, 1002])]
)
def test_a_plan_averages_time_where_channels_smear(
    plan: Literal["quality", "fast"], edges: list[float]
) -> None:
    small = CASES["small"]
    wanted = SearchSettings(dm_max=small.dm_max, plan=plan)
    search = Plan.make(wanted, small.header, 64).search
    lasts = [float(octave.sweeps[-1] << octave.index) * search.unit_dm for octave in search.octaves]
    assert lasts == pytest.approx(edges, abs=1)


def test_time_is_averaged_where_channels_smear_no_pulse_is_as_narrow() -> None:
    def lasts(nchans: int, smear: float) -> list[int]:
        grid = Grid(dm_max=3000, width_max_s=0.1, delays_per_octave=8192, smear_per_octave=smear)
        plan = octaves(grid, np.linspace(1500, 1100, nchans), 128e-6)
        return [int(octave.sweeps[-1]) for octave in plan[:-1]]

    assert all(8192 <= last <= 8192 + 8 for last in lasts(1024, np.inf))
    # a sweep of a sample per channel smears a sample, or little more in mid-band
    for nchans, smear in ((512, 8.0), (256, 8.0), (256, 4.0)):
        assert lasts(nchans, smear)
        assert all(abs(last / (smear * nchans) - 1) < 0.07 for last in lasts(nchans, smear))
    # never so early that gulps would have to be long
    assert all(1024 <= last <= 1024 + 32 for last in lasts(32, 4.0))


def test_groups_tell_where_their_rows_are() -> None:
    octave = Octave(0, np.array([0, 1, 2, 3, 10, 12, 14, 16, 20]), np.array([0.0, 1.0]), 0)
    assert octave.group_sweeps.tolist() == [1, 13, 20]
    assert octave.group_spans.tolist() == [3, 6, 0]
    assert octave.widths == [1, 2, 3, 4]


def test_items_are_made_ahead_one_at_a_time_by_the_threads_of_the_screen() -> None:
    made: list[tuple[int, str]] = []

    def items() -> Iterator[int]:
        for number in range(50):
            made.append((number, threading.current_thread().name))
            yield number

    for number in ENGINE.ahead(items()):
        assert len(made) <= number + 2, "one ahead, and no more"
    assert [number for number, _ in made] == list(range(50))
    assert {name.split("_")[0] for _, name in made} == {"screen"}


def test_who_makes_items_ahead_is_waited_for_and_closed() -> None:
    begun, closed = threading.Event(), threading.Event()

    def items() -> Generator[int]:
        try:
            yield 0
            begun.set()
            time.sleep(0.2)
            yield 1
        finally:
            closed.set()

    made = items()
    ahead = ENGINE.ahead(made)
    assert next(ahead) == 0
    assert begun.wait(10)
    ahead.close()
    assert closed.is_set()
    assert inspect.getgeneratorstate(made) == inspect.GEN_CLOSED


def test_who_is_busy_for_too_long_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 0
        begun.set()
        go_on.wait(20)

    monkeypatch.setattr("mlppa.dedisperse.engine.PATIENCE_S", 0.05)
    ahead = ENGINE.ahead(items())
    assert next(ahead) == 0
    assert begun.wait(10)
    ahead.close()
    assert "still busy reading" in caplog.text
    go_on.set()


def test_with_no_threads_left_items_are_closed_all_the_same() -> None:
    engine, made = Engine(1), iter_once()
    engine.close()
    with pytest.raises(RuntimeError, match="shutdown"):
        next(engine.ahead(made))
    assert inspect.getgeneratorstate(made) == inspect.GEN_CLOSED


def iter_once() -> Generator[int]:
    yield 0


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise InputError("file.fil", "it is torn", "mend it")

    ahead = ENGINE.ahead(items())
    assert next(ahead) == 0
    with pytest.raises(InputError, match="it is torn"):
        next(ahead)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no pinning on this system")
def test_as_many_threads_as_processors_keep_to_one_each() -> None:
    every = os.sched_getaffinity(0)
    for threads in {1, len(every), len(every) + 1}:
        engine, met = Engine(threads, pinned=True), threading.Barrier(threads, timeout=20)
        found: list[set[int]] = []

        def look(_: slice, found: list[set[int]] = found, met: threading.Barrier = met) -> None:
            found.append(os.sched_getaffinity(0))
            met.wait()

        engine.share(look, threads)
        engine.close()
        own = [{number} for number in sorted(every)]
        assert sorted(found) == (own if threads == len(every) > 1 else [every] * threads)
    assert os.sched_getaffinity(0) == every, "whoever asks is free"
