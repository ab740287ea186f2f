"""Host tensors: numpy arrays that also know the dtypes numpy lacks.

bfloat16 travels as its bit pattern in a uint16 array, with the true dtype beside it, so
that a memory-mapped checkpoint is handed to a device without a conversion or a copy.

Knows nothing of devices, graphs or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

DType = Literal[
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
    "bool",
]
Array = npt.NDArray[np.generic]

DTYPES: tuple[DType, ...] = get_args(DType)
_RUN = 1 << 18  # elements that are rounded at a time; their intermediate bits stay in the cache
_STORAGE: Mapping[DType, np.dtype[np.generic]] = MappingProxyType(
    {name: np.dtype("uint16" if name == "bfloat16" else name) for name in DTYPES}
)


def storage(dtype: DType) -> np.dtype[np.generic]:
    """Give the numpy dtype that holds the bits of a dtype (uint16 for bfloat16)."""
    return _STORAGE[dtype]


def itemsize(dtype: DType) -> int:
    """Give the bytes that one element takes."""
    return _STORAGE[dtype].itemsize


def is_float(dtype: DType) -> bool:
    """Tell whether a dtype holds real numbers."""
    return dtype in ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True, slots=True)
class HostTensor:
    """An array in host memory and the dtype that its bits mean."""

    array: Array
    dtype: DType

    def __post_init__(self) -> None:
        if self.array.dtype != _STORAGE[self.dtype]:
            expected, found = _STORAGE[self.dtype], self.array.dtype
            raise TypeError(f"{self.dtype} is stored as {expected}, but the array holds {found}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Give the number of elements along each axis."""
        return self.array.shape

    @property
    def num_bytes(self) -> int:
        """Give the size of the elements, in bytes."""
        return self.array.nbytes


def host(array: Array) -> HostTensor:
    """Wrap a plain numpy array; its dtype says what it means.

    Raises: TypeError, for a numpy dtype that no device is asked to know.
    """
    name = array.dtype.name
    for dtype in DTYPES:
        if dtype == name:
            return HostTensor(array, dtype)
    raise TypeError(f"arrays of {name} have no meaning here; known: {', '.join(DTYPES)}")


def to_float(tensor: HostTensor) -> npt.NDArray[np.float32]:
    """Widen to float32; exact for bfloat16 and float16, rounded for float64."""
    if tensor.dtype == "bfloat16":
        bits = tensor.array.astype(np.uint32)
        np.left_shift(bits, np.uint32(16), out=bits)
        return bits.view(np.float32)
    return tensor.array.astype(np.float32, copy=False)


def cast(tensor: HostTensor, dtype: DType) -> HostTensor:
    """Convert to another dtype, rounding to the nearest value, ties to even.

    Effects: returns the tensor itself where nothing changes.
    """
    if tensor.dtype == dtype:
        return tensor
    if dtype == "bfloat16":
        return HostTensor(_round_to_bfloat16(to_float(tensor)), dtype)
    if tensor.dtype == "bfloat16":
        return HostTensor(to_float(tensor).astype(_STORAGE[dtype], copy=False), dtype)
    return HostTensor(tensor.array.astype(_STORAGE[dtype]), dtype)


def put(tensor: HostTensor, into: HostTensor) -> None:
    """Convert as `cast` does, into an array that is there already.

    Shapes: equal.
    Effects: writes `into`.
    """
    target = into.array
    if tensor.dtype != into.dtype and into.dtype == "bfloat16" and target.flags.c_contiguous:
        _round_into(to_float(tensor), target.reshape(-1))
    else:
        np.copyto(target, cast(tensor, into.dtype).array)


def _round_to_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    result = np.empty(values.size, np.uint16)
    _round_into(values, result)
    return result.reshape(values.shape)


def _round_into(values: npt.NDArray[np.float32], result: Array) -> None:
    """Round run by run, so that the host holds no third copy of a large weight."""
    flat = np.ascontiguousarray(values).reshape(-1)
    for start in range(0, flat.size, _RUN):
        run = flat[start : start + _RUN]
        bits = run.view(np.uint32)
        rounded = bits >> np.uint32(16)
        np.bitwise_and(rounded, np.uint32(1), out=rounded)
        rounded += np.uint32(0x7FFF)
        rounded += bits
        rounded >>= np.uint32(16)
        result[start : start + _RUN] = rounded
        unordered = np.isnan(run)
        if unordered.any():
            result[start : start + _RUN][unordered] = np.uint16(0x7FC0)
