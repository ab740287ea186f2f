"""What the oracle computes with: float64 for every real dtype, integers as they are.

Widening is exact for every dtype but float64 itself needs none; narrowing rounds once, to
the nearest value, ties to even. Knows nothing of ops.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from octavo_platforms.tensor import Array, DType, HostTensor, cast, is_float, storage

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint32]


def widen(tensor: HostTensor) -> Array:
    """Give the values as an array of their own: float64 for reals, else the same dtype."""
    if tensor.dtype == "bfloat16":
        return (tensor.array.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    return tensor.array.astype(np.float64 if is_float(tensor.dtype) else tensor.array.dtype)


def floats(tensor: HostTensor) -> Floats:
    """Give real values in float64."""
    return widen(tensor).astype(np.float64)


def narrow(values: Array, dtype: DType) -> HostTensor:
    """Round values to a dtype; never aliases them.

    Dtypes: bfloat16 goes through float32, where float64 rounds first: at most half a unit in
        the last place and 2**-16 of one.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype == "bfloat16":
            return cast(HostTensor(values.astype(np.float32), "float32"), dtype)
        return HostTensor(values.astype(storage(dtype)), dtype)


def held(dtype: DType) -> np.dtype[np.generic]:
    """Give the numpy dtype in which the oracle keeps values of a dtype."""
    return np.dtype(np.float64) if is_float(dtype) else storage(dtype)
