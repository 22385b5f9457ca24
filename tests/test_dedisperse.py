"""The kernels against the oracle, the oracle against the law, the plan against its promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlppa.data import Int8Array
from mlppa.dedisperse import BLOCK, Grid, Octave, boxcars, octaves, oracle
from mlppa.dedisperse.brute import BruteForce, shift_sum
from mlppa.dispersion import delay_s, dm_per_sample

KERNEL = BruteForce(threads=2)


def rows_for(octave: Octave, nblocks: int, nchans: int, seed: int) -> Int8Array:
    rng = np.random.default_rng(seed)
    return rng.integers(-127, 128, (nchans, octave.halo + nblocks * BLOCK)).astype(np.int8)


@given(
    nchans=st.integers(2, 40),
    ascending=st.booleans(),
    dm_max=st.floats(1, 200),
    delays=st.sampled_from([64, 100, 500]),
    nblocks=st.integers(1, 4),
    seed=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_numba_equals_the_oracle(
    nchans: int, ascending: bool, dm_max: float, delays: int, nblocks: int, seed: int
) -> None:
    freqs = np.linspace(1200, 1500, nchans)[:: 1 if ascending else -1]
    grid = Grid(dm_max=dm_max, width_max_s=0.02, delays_per_octave=delays)
    for octave in octaves(grid, freqs, 1e-3):
        rows = rows_for(octave, nblocks, nchans, seed)
        fast, plain = KERNEL(rows, octave), oracle.screen(rows, octave)
        np.testing.assert_array_equal(fast.score, plain.score)
        np.testing.assert_array_equal(fast.width, plain.width)


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
    rows = np.zeros((64, octave.halo + 4 * BLOCK), np.int8)
    bottom = octave.halo + 70  # arrival at the lowest channel
    delays = delay_s(exact_dm, freqs, freqs.max()) / 1e-3
    samples = bottom - octave.sweeps[row] + np.floor(delays + 0.5).astype(int)
    rows[np.arange(64), samples] = 100
    maxima = oracle.screen(rows, octave)
    assert maxima.score[row, 70 // BLOCK] == 6400
    assert octave.widths[maxima.width[row, 70 // BLOCK]] == 1


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


def test_boxcars_are_close_enough() -> None:
    widths = boxcars(300)
    assert widths[0] == 1
    assert widths[-1] <= 300
    between = np.sqrt(widths[:-1] / widths[1:])
    assert (between[1:] > 0.81).all()
    assert boxcars(1).tolist() == [1]
