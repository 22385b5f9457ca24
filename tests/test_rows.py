"""How rows lie in memory."""

import numpy as np
import pytest

from mlppa.rows import CACHE_LINE, empty_rows, flat


@pytest.mark.parametrize("nsamples", [1, 63, 64, 65, 4096])
def test_rows_are_an_odd_number_of_lines_apart(nsamples: int) -> None:
    rows = empty_rows(3, nsamples)
    assert rows.shape == (3, nsamples)
    assert rows.strides == (rows.strides[0], 1)
    assert rows.strides[0] // CACHE_LINE % 2 == 1
    values, stride, length = flat(rows)
    rows[:] = np.arange(3)[:, None]
    assert length == nsamples
    assert [int(values[row * stride]) for row in range(3)] == [0, 1, 2]


def test_flat_rows_of_wider_numbers() -> None:
    rows = np.arange(24, dtype=np.int16).reshape(3, 8)[:, 2:6]
    values, stride, length = flat(rows)
    assert (stride, length) == (8, 4)
    np.testing.assert_array_equal(values[stride : stride + length], rows[1])
