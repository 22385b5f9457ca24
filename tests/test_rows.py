"""How rows lie in memory, and when memory is taken again."""

import numpy as np
import pytest

from mlppa.data import Int8Array
from mlppa.rows import CACHE_LINE, Shelf, empty_rows, flat


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


def test_rows_are_taken_again_once_nobody_holds_any_of_them() -> None:
    shelf = Shelf(2, 100)
    first: Int8Array | None = shelf.take()
    assert first is not None
    first[:] = 7
    part: Int8Array | None = first[1:, 10:20]
    again = shelf.take()
    assert not np.shares_memory(first, again)
    first = None
    third = shelf.take()
    assert not np.shares_memory(part, third), "a view holds it"
    assert part is not None
    values = flat(part).values
    part = None
    assert not np.shares_memory(values, shelf.take()), "and one of another shape"
    again[:], third[:] = 1, 2
    assert (values == 7).all()
    del values
    assert (shelf.take() == 7).all(), "now it is free"
