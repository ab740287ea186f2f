"""Memory of an opened device: JAX arrays.

Knows nothing of what they hold.
"""

from __future__ import annotations

import jax
import numpy as np

from octavo_jax import arrays
from octavo_jax.context import JaxContext
from octavo_platforms.capabilities import MemoryStats
from octavo_platforms.platform import DeviceTensor
from octavo_platforms.tensor import DType, HostTensor


class JaxMemory:
    """Allocates and copies."""

    def __init__(self, context: JaxContext) -> None:
        self._context = context

    def alloc(self, shape: tuple[int, ...], dtype: DType) -> DeviceTensor:
        """Give a tensor of zeros. Raises: MemoryError."""
        try:
            made = arrays.zeros(shape, dtype, self._context.sharding).block_until_ready()
        except jax.errors.JaxRuntimeError as error:
            free = self.stats().free_bytes
            raise MemoryError(f"cannot hold {dtype}{list(shape)}; {free} bytes are free") from error
        return DeviceTensor(made)

    def free(self, tensor: DeviceTensor) -> None:
        """Give a tensor's memory back."""
        arrays.array_of(tensor).delete()

    def to_device(self, tensor: HostTensor) -> DeviceTensor:
        """Copy to the device."""
        return DeviceTensor(arrays.to_device(tensor, self._context.sharding))

    def to_host(self, tensor: DeviceTensor) -> HostTensor:
        """Copy to the host."""
        found = arrays.to_host(arrays.array_of(tensor))
        return HostTensor(np.array(found.array), found.dtype)

    def stats(self) -> MemoryStats:
        """Ask how much there is and how much is free."""
        return self._context.stats()
