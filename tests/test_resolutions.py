"""Coarser time resolutions: exact averages, with what came before in front."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlppa.data import CleanGulp
from mlppa.dedisperse.engine import Engine
from mlppa.search import fast, plain
from mlppa.search.resolutions import Resolutions

from .test_reels import NSAMPLES, STARTS, stream_of


def gulp_of(stream: NDArray[np.int8], start: int) -> CleanGulp:
    rows = stream[:, start * NSAMPLES : (start + 1) * NSAMPLES]
    good, valid = np.ones(len(rows), np.bool_), np.ones(NSAMPLES, np.bool_)
    begin = start * NSAMPLES
    return CleanGulp(begin, rows, good, valid, begin, begin + NSAMPLES)


def averaged(rows: NDArray[np.int8], octave: int) -> NDArray[np.int8]:
    """All of a stream at one coarser resolution."""
    if not octave:
        return rows
    nsamples = rows.shape[1]
    starts = [0, *np.cumsum([nsamples >> m for m in range(1, octave + 1)]).tolist()]
    coarse = np.zeros((len(rows), starts[-1]), np.int8)
    plain.average(rows, coarse, starts[:-1])
    return coarse[:, starts[-2] :]


@settings(deadline=None, max_examples=100)
@given(STARTS, st.lists(st.integers(0, 500), min_size=1, max_size=5))
def test_every_resolution_has_its_past(starts: list[int], halos: list[int]) -> None:
    stream = stream_of(starts)
    resolutions = Resolutions(halos)
    for start in starts:
        gulp = gulp_of(stream, start)
        windows = resolutions.windows(gulp)
        assert windows[0] is gulp.window
        assert len(windows) == len(halos)
        for octave, (window, halo) in enumerate(zip(windows[1:], halos[1:], strict=True), 1):
            past = window.shape[1] - (NSAMPLES >> octave)
            assert past >= halo
            every = np.pad(averaged(stream, octave), [(0, 0), (past, 0)])
            stop = past + ((start + 1) * NSAMPLES >> octave)
            np.testing.assert_array_equal(window, every[:, stop - window.shape[1] : stop])


def test_memory_is_that_of_one_row() -> None:
    stream = stream_of(list(range(9)))
    resolutions = Resolutions([0, 300, 200])
    every = [resolutions.windows(gulp_of(stream, number))[1] for number in range(9)]
    assert len({window.ctypes.data for window in every}) == 1
    rows = every[0].base
    assert rows is not None
    # in rows of an odd number of cache lines, with one more behind the last
    assert rows.nbytes <= 3 * (resolutions.row(NSAMPLES) + 128)


def test_averages_keep_sums() -> None:
    rows = np.random.default_rng(5).integers(-20, 21, (4, 64)).astype(np.int8)
    coarse = np.empty((4, 48), np.int8)
    plain.average(rows, coarse, [0, 32])
    half, quarter = coarse[:, :32], coarse[:, 32:]
    pairs = rows.reshape(4, 32, 2).sum(axis=2)
    fours = rows.reshape(4, 16, 4).sum(axis=2)
    np.testing.assert_allclose(half, pairs / np.sqrt(2), atol=0.51)
    np.testing.assert_allclose(quarter, fours / 2, atol=0.51)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 5), st.integers(0, 2**32))
def test_fast_arithmetic_gives_what_plain_numpy_gives(
    noctaves: int, multiple: int, nchans: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    nsamples = multiple << noctaves
    # as the rows of a reel lie: parts of longer ones
    rows = rng.integers(-127, 128, (nchans, nsamples + 64)).astype(np.int8)[:, 64:]
    lengths = [nsamples >> octave for octave in range(1, noctaves + 1)]
    starts = (np.cumsum([0, *lengths[:-1]]) + 3 * np.arange(noctaves)).tolist()
    quick, exact = np.full((2, nchans, nsamples + 3 * noctaves), 9, np.int8)
    fast.average(rows, quick, starts)
    plain.average(rows, exact, starts)
    np.testing.assert_array_equal(quick, exact)
    gone = [int(rng.integers(0, length)) for length in lengths]
    stretches = zip(starts, lengths, gone, strict=True)
    moves = [(start + less, start, length - less) for start, length, less in stretches]
    fast.move(quick, moves)
    plain.move(exact, moves)
    np.testing.assert_array_equal(quick, exact)


def test_deep_octaves_of_the_brightest_signal_do_not_overflow() -> None:
    nsamples = 2 << 10
    rows = np.full((1, nsamples), 127, np.int8)
    coarse = np.zeros((1, nsamples), np.int8)
    starts = np.cumsum([0, *(nsamples >> octave for octave in range(1, 11))]).tolist()
    fast.average(rows, coarse, starts[:-1])
    assert (coarse[:, : starts[-1]] == 127).all()


def test_a_gulp_that_cannot_be_halved_so_often_is_refused() -> None:
    stream = stream_of([0])
    with pytest.raises(ValueError, match="9 octaves"):
        Resolutions([0] * 9).windows(gulp_of(stream, 0))


def test_the_past_of_nothing_is_nothing() -> None:
    stream = stream_of([3])
    windows = Resolutions([0, 100]).windows(gulp_of(stream, 3))
    assert not windows[1][:, : -NSAMPLES // 2].any()


@pytest.mark.parametrize("threads", [1, 2, 9])
def test_threads_share_channels_also_where_there_are_more_of_them(threads: int) -> None:
    stream = stream_of([0, 1, 2])
    engine, alone = Engine(threads), Resolutions([0, 300, 200])
    shared = Resolutions([0, 300, 200], engine.share)
    for start in range(3):
        gulp = gulp_of(stream, start)
        for window, exact in zip(shared.windows(gulp), alone.windows(gulp), strict=True):
            np.testing.assert_array_equal(window, exact)
    engine.close()
