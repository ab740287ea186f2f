"""Samples of weights: what is looked at, and what is said of what is no number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo.weights.finite import NUM_RUNS, RUN_LENGTH, not_finite
from octavo_platforms.tensor import DType, HostTensor, cast, host

SMALL = NUM_RUNS * RUN_LENGTH


@given(st.integers(0, SMALL - 1), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_small_tensor_is_looked_at_whole(position: int, value: float) -> None:
    array = np.ones(SMALL, np.float32)
    array[position] = value
    seen = not_finite(host(array.reshape(64, -1)))
    assert seen is not None
    assert (seen.num_bad, seen.num_seen) == (1, SMALL)
    assert seen.index == tuple(divmod(position, SMALL // 64))
    np.testing.assert_equal(seen.value, value)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_large_tensor_of_nothing_is_found_by_its_first_number(dtype: DType) -> None:
    array = np.full((512, 300), np.nan, np.float32)
    seen = not_finite(cast(host(array), dtype))
    assert seen is not None
    assert (seen.num_bad, seen.num_seen, seen.index) == (SMALL, SMALL, (0, 0))


@pytest.mark.parametrize("row", [0, 511])
def test_first_and_last_row_of_a_large_tensor_are_looked_at(row: int) -> None:
    array = np.ones((512, RUN_LENGTH), np.float32)
    array[row, -1] = np.inf
    seen = not_finite(host(array))
    assert seen is not None
    assert seen.index == (row, RUN_LENGTH - 1)


def test_strides_do_not_change_what_is_seen() -> None:
    array = np.ones((300, 512), np.float32)
    array[2, 0] = np.nan
    turned = not_finite(host(array.T))
    assert turned is not None
    assert turned.index == (0, 2)


def test_finite_numbers_and_integers_pass() -> None:
    largest = np.full((512, 300), np.finfo(np.float32).max, np.float32)
    assert not_finite(host(largest)) is None
    assert not_finite(HostTensor(np.full(8, 0x7F80, np.uint16), "uint16")) is None
    assert not_finite(host(np.empty((0, 4), np.float32))) is None
