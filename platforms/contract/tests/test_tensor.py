"""Host tensors: bfloat16 as bits, and rounding to nearest, ties to even.

Does not know any device.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo_platforms.tensor import (
    DTYPES,
    DType,
    HostTensor,
    cast,
    host,
    is_float,
    itemsize,
    put,
    storage,
    to_float,
)

KNOWN = [
    (1.0, 0x3F80),
    (-0.0, 0x8000),
    (1.0 + 2.0**-8, 0x3F80),  # half way, the even one is below
    (1.0 + 3 * 2.0**-8, 0x3F82),  # half way, the even one is above
    (1.0 + 2.0**-8 + 2.0**-20, 0x3F81),
    (3.3895314e38, 0x7F7F),
    (3.4e38, 0x7F80),  # past the largest: infinity
    (float("inf"), 0x7F80),
    (float("-inf"), 0xFF80),
    (2.0**-133, 0x0001),  # the smallest subnormal
]


@pytest.mark.parametrize(("value", "bits"), KNOWN)
def test_bfloat16_rounds_to_known_bits(value: float, bits: int) -> None:
    found = cast(host(np.asarray([value], np.float32)), "bfloat16")
    assert found.array.dtype == np.uint16
    assert int(found.array[0]) == bits


def test_not_a_number_stays_one_in_bfloat16() -> None:
    bits = np.asarray([0x7F800001, 0x7FFFFFFF, 0xFFC00000], np.uint32)
    found = to_float(cast(host(bits.view(np.float32)), "bfloat16"))
    assert np.isnan(found).all()


@given(st.integers(0, 2**16 - 1))
def test_every_bfloat16_survives_float32(bits: int) -> None:
    tensor = HostTensor(np.asarray([bits], np.uint16), "bfloat16")
    wide = cast(tensor, "float32")
    back = cast(wide, "bfloat16")
    assert np.isnan(wide.array[0]) or int(back.array[0]) == bits


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_bfloat16_is_never_further_than_its_neighbours(value: float) -> None:
    exact = np.asarray([value], np.float32)
    bits = int(cast(host(exact), "bfloat16").array[0])
    near = np.asarray([max(bits - 1, 0), bits, min(bits + 1, 0xFFFF)], np.uint16)
    with np.errstate(invalid="ignore", over="ignore"):
        far = np.abs(to_float(HostTensor(near, "bfloat16")).astype(np.float64) - float(exact[0]))
    assert not np.isfinite(far[1]) or far[1] <= np.nanmin(far)


def test_rounding_a_large_array_is_rounding_its_parts() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, (3, 2**17 + 1), dtype=np.uint32)
    whole = cast(host(bits.view(np.float32)), "bfloat16").array
    for row in range(3):
        part = cast(host(bits[row].view(np.float32)), "bfloat16").array
        np.testing.assert_array_equal(whole[row], part)


def test_cast_to_the_same_dtype_copies_nothing() -> None:
    tensor = host(np.zeros(4, np.float16))
    assert cast(tensor, "float16") is tensor


def test_bits_under_a_wrong_dtype_are_refused() -> None:
    with pytest.raises(TypeError, match="bfloat16 is stored as uint16"):
        HostTensor(np.zeros(2, np.float32), "bfloat16")
    with pytest.raises(TypeError, match="complex64"):
        host(np.zeros(2, np.complex64))


def test_storage_and_size_agree_for_every_dtype() -> None:
    assert {dtype: storage(dtype).itemsize for dtype in DTYPES} == {d: itemsize(d) for d in DTYPES}
    assert [dtype for dtype in DTYPES if is_float(dtype)] == list(DTYPES[:4])


@given(st.lists(st.floats(width=32), min_size=1, max_size=9), st.sampled_from(DTYPES[:4]))
def test_what_is_put_into_an_array_is_what_cast_gives(values: list[float], dtype: DType) -> None:
    tensor = host(np.asarray([values, values], np.float32))
    with np.errstate(over="ignore"):
        expected = cast(tensor, dtype)
        for room in (np.empty((2, len(values)), storage(dtype)), np.empty((2, 20), storage(dtype))):
            into = HostTensor(room[:, : len(values)], dtype)
            put(tensor, into)
            assert into.array.tobytes() == expected.array.tobytes()
