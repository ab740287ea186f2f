"""Arrays between host and device, bit by bit.

The contract's bfloat16 is a uint16 array; JAX's is a numpy dtype of its own, of the same bits.
Numbers of 64 bits exist on the device only where they are asked for by name: JAX narrows them
otherwise, and its setting for the whole process is not ours to change.

Knows nothing of programs.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np

from octavo_platforms.tensor import DTYPES, Array, DType, HostTensor, storage

JAX_OF: Mapping[DType, np.dtype[np.generic]] = MappingProxyType(
    {name: jnp.dtype(name) for name in DTYPES}
)
NAME_OF: Mapping[np.dtype[np.generic], DType] = MappingProxyType(
    {dtype: name for name, dtype in JAX_OF.items()}
)


def array_of(tensor: object) -> jax.Array:
    """See a device tensor as what it is. Raises: TypeError, for any other."""
    if not isinstance(tensor, jax.Array):
        raise TypeError(f"expected a JAX array, not a {type(tensor).__name__}")
    return tensor


def owned(array: Array, dtype: DType) -> Array:
    """Give a copy that JAX may keep, in the dtype that it knows.

    JAX may use a host array's memory as its own, so nobody else may hold it.
    """
    return np.array(array, dtype=storage(dtype), order="C").view(JAX_OF[dtype])


def to_device(tensor: HostTensor, place: jax.sharding.Sharding) -> jax.Array:
    """Copy to a device, and wait for it: the host's copy is gone when this returns."""
    mine = owned(tensor.array, tensor.dtype)
    with jax.enable_x64(True):
        sent: jax.Array = jax.device_put(mine, place)
        return sent.block_until_ready()


def zeros(shape: tuple[int, ...], dtype: DType, place: jax.sharding.Sharding) -> jax.Array:
    """Make zeros on a device."""
    with jax.enable_x64(True):
        return jnp.zeros(shape, JAX_OF[dtype], device=place)


def to_host(array: jax.Array) -> HostTensor:
    """Give the values of an array; waits for the device. The result may be read-only."""
    dtype = NAME_OF[array.dtype]
    return HostTensor(np.asarray(array).view(storage(dtype)), dtype)
