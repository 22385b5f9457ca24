"""What came before stands in front of every gulp, and who holds one keeps it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlppa.clean import Room
from mlppa.clean.reels import Reel
from mlppa.rows import CACHE_LINE

NSAMPLES = 2 * CACHE_LINE

#: Where gulps begin: most follow each other.
STARTS = st.lists(st.integers(0, 9), min_size=1, max_size=30).map(
    lambda gaps: np.cumsum([1 + max(gap - 6, 0) for gap in gaps]).tolist()
)


def stream_of(starts: list[int]) -> NDArray[np.int8]:
    """Two channels with something in every gulp, and nothing between them."""
    rng = np.random.default_rng(len(starts))
    stream = np.zeros((2, (starts[-1] + 1) * NSAMPLES), np.int8)
    for start in starts:
        here = slice(start * NSAMPLES, (start + 1) * NSAMPLES)
        stream[:, here] = rng.integers(1, 100, (2, NSAMPLES))
    return stream


def seen(stream: NDArray[np.int8], start: int, past: int) -> NDArray[np.int8]:
    """Give a gulp and so much of its past."""
    stop = (start + 1) * NSAMPLES
    return np.pad(stream, [(0, 0), (past, 0)])[:, stop - NSAMPLES : stop + past]


@settings(deadline=None, max_examples=200)
@given(STARTS, st.integers(0, 500), st.integers(1, 6), st.data())
def test_a_window_holds_what_came_before_for_as_long_as_it_is_held(
    starts: list[int], halo: int, gulps: int, data: st.DataObject
) -> None:
    stream = stream_of(starts)
    reel = Reel(Room(halo=halo, gulps=gulps), (NSAMPLES, 2))
    held: list[tuple[int, NDArray[np.int8]]] = []
    for start in starts:
        rows = reel.advance(start * NSAMPLES)
        rows[:] = stream[:, start * NSAMPLES : (start + 1) * NSAMPLES]
        del rows
        assert reel.window.shape[1] >= halo + NSAMPLES
        held.append((start, reel.window))
        for begin, window in held:
            past = window.shape[1] - NSAMPLES
            np.testing.assert_array_equal(window, seen(stream, begin, past))
        for _ in range(data.draw(st.integers(0, 2))):
            if held:
                held.pop(data.draw(st.integers(0, len(held) - 1)))


@settings(deadline=None, max_examples=100)
@given(STARTS, st.integers(0, 500), st.integers(1, 6))
def test_there_is_room_for_so_many_gulps_also_where_the_stream_has_gaps(
    starts: list[int], halo: int, gulps: int
) -> None:
    reel = Reel(Room(halo=halo, gulps=gulps), (NSAMPLES, 2))
    held: list[tuple[int, NDArray[np.int8]]] = []
    pieces = set()
    lead = -(-reel.window.shape[1] // NSAMPLES) - 1
    for before, start in zip([starts[0], *starts], starts, strict=False):
        # into a gap gulps of nothing pass, and nobody lets go of any other
        for nothing in range(before + 1, min(start, before + lead + 2) if lead else 0):
            reel.advance(nothing * NSAMPLES)
        held = [one for one in held if one[0] > start - gulps][-gulps:]
        reel.advance(start * NSAMPLES)
        held.append((start, reel.window))
        base = reel.window.base
        assert base is not None
        pieces.add(base.ctypes.data)
        del base
    assert len(pieces) == 1


def test_who_holds_more_makes_the_next_reel_longer() -> None:
    reel = Reel(Room(halo=100, gulps=2), (NSAMPLES, 2))
    held: list[NDArray[np.int8]] = []
    pieces = []
    for number in range(200):
        held = [*held[-4:], np.empty((0, 0), np.int8)]
        reel.advance(number * NSAMPLES)
        held[-1] = reel.window
        base = reel.window.base
        assert base is not None
        pieces.append(base.ctypes.data)
        del base
    assert len(set(pieces[-60:])) == 1, "it has grown until they fit"
