"""Pieces that come out of order, twice, late, or from somewhere else."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlppa.data import Block
from mlppa.metrics import HEAP_FATES
from mlppa.sources.ordered import LEAP, Anew, Sorter

from .conftest import MetricDelta

WINDOW = 100


def piece(start: int, nsamples: int = 10) -> Block:
    """Make a piece whose samples are their own index."""
    return Block(start, np.arange(start, start + nsamples)[:, None])


def put(sorter: Sorter, *starts: int) -> list[int]:
    return [block.start for start in starts for block in sorter.put(piece(start))]


def flushed(sorter: Sorter) -> list[int]:
    return [block.start for block in sorter.flush()]


@pytest.fixture
def fates(metric_delta: type[MetricDelta]) -> dict[str, MetricDelta]:
    return {fate: metric_delta("mlppa_heaps_total", fate=fate) for fate in HEAP_FATES}


def counted(fates: dict[str, MetricDelta]) -> dict[str, float]:
    return {fate: grown() for fate, grown in fates.items() if grown()}


def test_the_earliest_of_the_first_window_begins(fates: dict[str, MetricDelta]) -> None:
    sorter = Sorter(WINDOW)
    assert put(sorter, 30, 10, 20, 40, 50, 60, 70, 80, 90, 100) == []
    assert sorter.next_start is None
    assert put(sorter, 110) == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110]
    assert sorter.next_start == 120
    assert put(sorter, 120, 130) == [120, 130]
    assert counted(fates) == {"used": 13}


def test_a_hole_is_waited_for_and_then_a_gap(fates: dict[str, MetricDelta]) -> None:
    sorter = Sorter(WINDOW)
    put(sorter, 0)
    assert flushed(sorter) == [0]
    assert put(sorter, 20, *range(30, 120, 10)) == []
    assert put(sorter, 120) == list(range(20, 130, 10))
    assert put(sorter, 10) == []
    assert counted(fates) == {"used": 12, "late": 1}


def test_a_hole_that_is_filled_in_time_is_none() -> None:
    sorter = Sorter(WINDOW)
    put(sorter, 0)
    sorter.flush()
    assert put(sorter, *range(20, 120, 10)) == []
    assert put(sorter, 10) == list(range(10, 120, 10))


def test_pieces_longer_than_the_window_may_change_places() -> None:
    sorter = Sorter(WINDOW)
    long = [piece(start, 1000) for start in range(0, 6000, 1000)]
    given = [b.start for i in (0, 2, 1, 4, 3, 5) for b in sorter.put(long[i])]
    assert [*given, *flushed(sorter)] == list(range(0, 6000, 1000))


def test_what_comes_twice_is_left_out(fates: dict[str, MetricDelta]) -> None:
    sorter = Sorter(WINDOW)
    assert put(sorter, 0, 0, 10, 0) == []
    assert flushed(sorter) == [0, 10]
    assert put(sorter, 0, 10, 20, 20) == [20]
    assert counted(fates) == {"used": 3, "duplicate": 5}


@pytest.mark.parametrize(("start", "nsamples"), [(15, 10), (35, 10), (5, 10), (25, 20), (40, 0)])
def test_what_overlaps_is_refused(fates: dict[str, MetricDelta], start: int, nsamples: int) -> None:
    sorter = Sorter(WINDOW)
    put(sorter, 0)
    sorter.flush()
    put(sorter, 20, 40)
    sorter.put(piece(start, nsamples))
    assert flushed(sorter) == [20, 40]
    assert counted(fates) == {"used": 3, "malformed": 1}


def test_a_jump_of_minutes_is_a_gap() -> None:
    sorter = Sorter(WINDOW)
    put(sorter, 0, 10)
    assert put(sorter, 50_000) == [0, 10]
    assert flushed(sorter) == [50_000]


FAR = (LEAP + 1) * WINDOW


def test_a_leap_is_not_believed_of_one_alone(fates: dict[str, MetricDelta]) -> None:
    sorter = Sorter(WINDOW)
    assert put(sorter, 0, FAR, FAR + 10, 10, FAR, FAR + 10, 20) == []
    assert flushed(sorter) == [0, 10, 20]
    assert counted(fates) == {"used": 3, "stray": 4}


def test_a_leap_is_believed_of_three_in_whatever_order(fates: dict[str, MetricDelta]) -> None:
    sorter = Sorter(WINDOW)
    put(sorter, 0, 10)
    assert put(sorter, FAR + 10, FAR, FAR, FAR + 20) == [0, 10]
    assert put(sorter, FAR + 30) == []
    assert flushed(sorter) == [FAR, FAR + 10, FAR + 20, FAR + 30]
    assert counted(fates) == {"used": 6, "duplicate": 1}


def test_three_that_do_not_go_on_from_each_other_are_not_believed(
    fates: dict[str, MetricDelta],
) -> None:
    sorter = Sorter(WINDOW)
    assert put(sorter, 0, FAR, 2 * FAR, 3 * FAR, 4 * FAR, 10) == []
    assert counted(fates) == {"stray": 4}
    assert flushed(sorter) == [0, 10]


def test_a_counter_that_is_set_back_begins_anew(fates: dict[str, MetricDelta]) -> None:
    sorter = Sorter(WINDOW)
    put(sorter, 5000)
    assert flushed(sorter) == [5000]
    put(sorter, 5020)
    assert put(sorter, 10, 0) == []
    with pytest.raises(Anew) as anew:
        put(sorter, 20)
    assert flushed(sorter) == [5020]
    following = Sorter(WINDOW)
    assert [following.put(p) for p in anew.value.pieces] == [[], [], []]
    assert put(following, 30) == []
    assert flushed(following) == [0, 10, 20, 30]
    assert counted(fates) == {"used": 6}


def test_stragglers_between_good_pieces_do_not_begin_anew(fates: dict[str, MetricDelta]) -> None:
    sorter = Sorter(WINDOW)
    put(sorter, 5000)
    sorter.flush()
    assert put(sorter, 10, 5010, 20, 5020, 30, 5030) == [5010, 5020, 5030]
    assert counted(fates) == {"used": 4, "stray": 3}


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    gaps=st.lists(st.integers(0, 60), min_size=60, max_size=60),
    begin=st.integers(0, 10_000),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=200, deadline=None)
def test_any_order_within_the_window_is_the_same_stream(
    lengths: list[int], gaps: list[int], begin: int, seed: int
) -> None:
    pieces = []
    for length, gap in zip(lengths, gaps, strict=False):
        begin += gap if gap > 40 else 0
        pieces.append(piece(begin, length))
        begin += length
    rng = random.Random(seed)
    twice = [*pieces, *rng.sample(pieces, len(pieces) // 2)]
    came = sorted(twice, key=lambda p: p.start + rng.uniform(0, WINDOW))
    sorter = Sorter(WINDOW)
    out = [block for p in came for block in sorter.put(p)] + sorter.flush()
    assert [(block.start, block.stop) for block in out] == [(p.start, p.stop) for p in pieces]
    assert sorter.next_start == pieces[-1].stop


@given(st.lists(st.tuples(st.integers(0, 3 * FAR), st.integers(0, 300)), max_size=200))
@settings(max_examples=100, deadline=None)
def test_whatever_comes_blocks_rise_and_memory_is_bounded(came: list[tuple[int, int]]) -> None:
    sorter = Sorter(WINDOW)
    cursor = 0
    for start, nsamples in [c for c in came for _ in range(3)]:
        try:
            given_now = sorter.put(piece(start, nsamples))
        except Anew:
            given_now = sorter.flush()
            sorter = Sorter(WINDOW)
        for block in given_now:
            assert block.start >= cursor
            cursor = block.stop
        if sorter.next_start is None:
            cursor = 0
        assert len(sorter._waiting) <= WINDOW + 1
        assert len(sorter._strays) < 3
