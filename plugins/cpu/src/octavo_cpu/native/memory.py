"""Tensors in the library's memory, and the opened host that they belong to.

Memory is given back when `free` is called or when the last reference to a tensor goes.
Knows nothing of graphs.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from octavo_cpu.host import stats
from octavo_cpu.native.library import Library
from octavo_platforms.capabilities import DeviceInfo, MemoryStats
from octavo_platforms.platform import DeviceContext, DeviceTensor
from octavo_platforms.tensor import DType, HostTensor, itemsize, storage

DTYPE_NUMBERS: Mapping[DType, int] = MappingProxyType(
    {"float32": 0, "bfloat16": 1, "int32": 2, "uint32": 3}
)
LANES = 16


class NativeTensor:
    """Elements in the library's memory. Raises: MemoryError."""

    def __init__(
        self, library: Library, shape: tuple[int, ...], dtype: DType, *, num_elements: int
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.num_bytes = num_elements * itemsize(dtype)
        self.address = library.alloc(self.num_bytes)
        self._release = weakref.finalize(self, library.free, self.address)

    def release(self) -> None:
        """Give the memory back. Releasing twice does nothing."""
        self._release()


class NativeContext:
    """The host, opened: the library and its threads."""

    def __init__(self, library: Library, device: DeviceInfo, num_threads: int) -> None:
        self.library = library
        self.devices = (device,)
        self.pool = library.new_pool(num_threads)
        self._end = weakref.finalize(self, library.free_pool, self.pool)

    @property
    def is_open(self) -> bool:
        """Tell whether the threads are still there."""
        return bool(self._end.alive)

    def close(self) -> None:
        """End the threads. Closing twice does nothing."""
        self._end()


class NativeMemory:
    """The host's memory, as the library gives it."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def alloc(self, shape: tuple[int, ...], dtype: DType) -> DeviceTensor:
        """Give a tensor of zeros. Raises: MemoryError."""
        return DeviceTensor(self._tensor(shape, dtype))

    def free(self, tensor: DeviceTensor) -> None:
        """Give a tensor's memory back."""
        tensor_of(tensor).release()

    def to_device(self, tensor: HostTensor) -> DeviceTensor:
        """Copy into the library's memory."""
        made = self._tensor(tensor.shape, tensor.dtype)
        array = np.ascontiguousarray(tensor.array)
        ctypes.memmove(made.address, array.ctypes.data, made.num_bytes)
        return DeviceTensor(made)

    def to_host(self, tensor: DeviceTensor) -> HostTensor:
        """Copy out of the library's memory."""
        kept = tensor_of(tensor)
        array = np.empty(kept.shape, storage(kept.dtype))
        ctypes.memmove(array.ctypes.data, kept.address, array.nbytes)
        return HostTensor(array, kept.dtype)

    def stats(self) -> MemoryStats:
        """Tell the host's memory."""
        return stats(0)

    def _tensor(self, shape: tuple[int, ...], dtype: DType) -> NativeTensor:
        count = int(np.prod(shape, dtype=np.int64))
        return NativeTensor(self._library, shape, dtype, num_elements=count)


def packed(library: Library, weight: DeviceTensor) -> DeviceTensor:
    """Lay a weight out in blocks of sixteen outputs; what is past the last is zero.

    Shapes: weight [O, I]; the elements of the result are [O/16, I, 16], rounded up.
    """
    plain = tensor_of(weight)
    return _packed(library, plain.shape, plain.dtype, plain.address)


def packed_from_host(library: Library, weight: HostTensor) -> DeviceTensor:
    """Lay a host's array out as `packed` does, with no copy before."""
    array = np.ascontiguousarray(weight.array)
    return _packed(library, weight.shape, weight.dtype, array.ctypes.data)


def _packed(library: Library, shape: tuple[int, ...], dtype: DType, address: int) -> DeviceTensor:
    n_out, n_in = shape
    padded = -(-n_out // LANES) * LANES
    made = NativeTensor(library, shape, dtype, num_elements=padded * n_in)
    library.pack(address, made.address, (n_out, n_in), DTYPE_NUMBERS[dtype])
    return DeviceTensor(made)


def tensor_of(tensor: object) -> NativeTensor:
    """See a device tensor as what it is. Raises: TypeError, for any other."""
    if not isinstance(tensor, NativeTensor):
        raise TypeError(f"this platform holds native tensors, not a {type(tensor).__name__}")
    return tensor


def opened(context: DeviceContext) -> NativeContext:
    """See a context as what it is. Raises: TypeError, for another platform's."""
    if not isinstance(context, NativeContext):
        raise TypeError(f"this platform opens native contexts, not a {type(context).__name__}")
    return context
