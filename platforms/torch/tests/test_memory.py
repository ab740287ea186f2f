"""Memory: bits survive, nothing is aliased, and what does not fit says so."""

from __future__ import annotations

import numpy as np
import pytest

from octavo_platforms.loaded import Platform
from octavo_platforms.platform import DeviceContext, Memory
from octavo_platforms.tensor import DTYPES, DType, HostTensor, storage
from octavo_torch.memory import borrowed, to_host


@pytest.fixture
def memory(platform: Platform, context: DeviceContext) -> Memory:
    return platform.make_memory(context)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back_with_its_bits(memory: Memory, dtype: DType) -> None:
    raw = np.arange(24, dtype=np.uint8) % 2 if dtype == "bool" else np.arange(24 * 8, dtype="u1")
    sent = HostTensor(raw.view(storage(dtype))[:24].reshape(4, 6).T, dtype)
    found = memory.to_host(memory.to_device(sent))
    assert found.dtype == dtype
    assert found.array.tobytes() == sent.array.tobytes()


def test_neither_side_sees_the_other_write_afterwards(memory: Memory) -> None:
    array = np.ones(8, np.float32)
    kept = memory.to_device(HostTensor(array, "float32"))
    array[:] = 2
    received = memory.to_host(kept).array
    received[:] = 3
    assert memory.to_host(kept).array.tolist() == [1.0] * 8


def test_a_read_only_array_is_taken(memory: Memory) -> None:
    array = np.ones(8, np.float32)
    array.flags.writeable = False
    assert memory.to_host(memory.to_device(HostTensor(array, "float32"))).array.sum() == 8


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_that_is_borrowed_shows_its_own_bits_read_only_or_not(dtype: DType) -> None:
    array = np.arange(1, 25, dtype="u1").repeat(8).view(storage(dtype))[:24].reshape(4, 6)
    array.flags.writeable = False
    for each in (array, array.T, array[:0], array[:1, :1].reshape(())):
        found = to_host(borrowed(HostTensor(each, dtype)))
        assert found.dtype == dtype
        assert found.array.tobytes() == each.tobytes()


def test_a_contiguous_array_is_borrowed_where_it_lies() -> None:
    array = np.ones((2, 3), np.float32)
    assert borrowed(HostTensor(array, "float32")).data_ptr() == array.ctypes.data


@pytest.mark.parametrize("dtype", DTYPES)
def test_new_memory_is_zero(memory: Memory, dtype: DType) -> None:
    found = memory.to_host(memory.alloc((3, 5), dtype))
    assert found.dtype == dtype
    assert not found.array.any()


def test_freed_memory_is_given_back_though_the_tensor_is_still_held(memory: Memory) -> None:
    held = memory.alloc((1024,), "float32")
    memory.free(held)
    assert memory.to_host(held).array.size == 0


def test_what_does_not_fit_is_refused_with_the_numbers(memory: Memory) -> None:
    with pytest.raises(MemoryError, match=r"takes \d{18,} bytes, and 1073741824 are free"):
        memory.alloc((1 << 30, 1 << 28), "float32")
