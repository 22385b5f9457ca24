"""Gulps do not depend on how the stream was cut."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlppa.data import Block, Gulp
from mlppa.errors import InputError
from mlppa.gulps import gulps

NCHANS = 3


def sky(nsamples: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(1, 255, (nsamples, NCHANS)).astype(np.uint8)


def cut(pieces: list[int], start: int = 0) -> list[Block]:
    """Blocks of the given lengths; a negative length is a gap."""
    spectra = sky(start + sum(map(abs, pieces)))
    blocks = []
    for length in pieces:
        if length > 0:
            blocks.append(Block(start, spectra[start : start + length]))
        start += abs(length)
    return blocks


def plain(found: list[Gulp]) -> list[tuple[object, ...]]:
    return [
        (g.start, g.first, g.last, g.missing, g.spectra[g.valid].tobytes(), g.valid.tobytes())
        for g in found
    ]


@given(st.lists(st.integers(1, 90), min_size=1, max_size=12), st.integers(0, 40))
def test_any_cut_gives_the_same_gulps(pieces: list[int], start: int) -> None:
    whole = list(gulps(cut([sum(pieces)], start), 32))
    assert plain(list(gulps(cut(pieces, start), 32))) == plain(whole)


@given(st.lists(st.integers(-90, 90).filter(bool), min_size=1, max_size=12))
def test_every_sample_is_accounted_for(pieces: list[int]) -> None:
    blocks = cut(pieces)
    found = list(gulps(blocks, 32))
    if not blocks:
        assert found == []
        return
    elapsed = blocks[-1].stop - blocks[0].start
    assert sum(int(g.valid.sum()) for g in found) == sum(len(b.spectra) for b in blocks)
    jumps = sum(b.first - a.last for a, b in itertools.pairwise(found))
    assert sum(g.missing + int(g.valid.sum()) for g in found) + jumps == elapsed
    assert all(g.start % 32 == 0 and g.start <= g.first < g.last <= g.stop for g in found)


def test_samples_stand_at_their_index() -> None:
    spectra = sky(200)
    for gulp in gulps(cut([30, -10, 160]), 64):
        inside = np.flatnonzero(gulp.valid)
        np.testing.assert_array_equal(gulp.spectra[inside], spectra[gulp.start + inside])


def test_what_the_source_calls_padding_is_not_valid() -> None:
    valid = np.array([True, False, True])
    (gulp,) = gulps([Block(0, sky(3), valid)], 8)
    assert gulp.valid.tolist() == [True, False, True] + [False] * 5
    assert gulp.missing == 0


def test_a_gulp_out_of_one_block_is_not_copied_if_it_may_be_owned() -> None:
    spectra, valid = sky(100), np.arange(100) % 7 > 0
    first, second, third, last = gulps([Block(0, spectra, valid)], 32)
    for gulp in (first, second, third):
        assert np.shares_memory(gulp.spectra, spectra)
        np.testing.assert_array_equal(gulp.spectra, spectra[gulp.start : gulp.stop])
        np.testing.assert_array_equal(gulp.valid, valid[gulp.start : gulp.stop])
        assert (gulp.first, gulp.last, gulp.missing) == (gulp.start, gulp.stop, 0)
    assert not np.shares_memory(last.spectra, spectra)
    spectra.flags.writeable = False
    assert not any(np.shares_memory(g.spectra, spectra) for g in gulps([Block(0, spectra)], 32))


def test_overlapping_blocks_are_refused() -> None:
    with pytest.raises(InputError, match="time order"):
        list(gulps([Block(0, sky(10)), Block(5, sky(10))], 8))


def test_a_change_of_channels_is_refused() -> None:
    with pytest.raises(InputError, match="one set of channels"):
        list(gulps([Block(0, sky(10)), Block(10, sky(10)[:, :2])], 64))
