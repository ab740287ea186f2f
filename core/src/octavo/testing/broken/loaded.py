"""A broken checkpoint is loaded as far as it goes, and what it leaves on the device is counted.

Knows nothing of the cases, and of no device: weights go to host memory that counts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from octavo.graph.passes import optimised
from octavo.models.registry import family
from octavo.testing.toys import llama
from octavo.weights.find import find
from octavo.weights.load import from_checkpoint, load
from octavo_platforms.binding import Binding
from octavo_platforms.capabilities import MemoryStats
from octavo_platforms.platform import DeviceTensor
from octavo_platforms.tensor import Array, DType, HostTensor, storage


class CountedMemory:
    """Host memory that knows how many bytes were brought to it, and how many nobody gave back."""

    def __init__(self) -> None:
        self.brought_bytes = 0
        self._held: dict[int, Array] = {}

    @property
    def held_bytes(self) -> int:
        """Count what has not been given back."""
        return sum(array.nbytes for array in self._held.values())

    def alloc(self, shape: tuple[int, ...], dtype: DType) -> DeviceTensor:
        """Give zeros."""
        return self._hold(np.zeros(shape, storage(dtype)))

    def free(self, tensor: DeviceTensor) -> None:
        """Give a tensor back; what is not held is a KeyError."""
        del self._held[id(tensor)]

    def to_device(self, tensor: HostTensor) -> DeviceTensor:
        """Copy, and hold the copy."""
        self.brought_bytes += tensor.num_bytes
        return self._hold(tensor.array.copy())

    def to_host(self, tensor: DeviceTensor) -> HostTensor:
        """Refuse: loading reads nothing back."""
        raise MemoryError("nothing is read back while a model is loaded")

    def stats(self) -> MemoryStats:
        """Tell what is held of what was brought."""
        return MemoryStats(self.brought_bytes, self.brought_bytes - self.held_bytes)

    def _hold(self, array: Array) -> DeviceTensor:
        self._held[id(array)] = array
        return DeviceTensor(array)


def load_all(model: Path, memory: CountedMemory) -> int:
    """Do what starting with a model does until its weights are placed; counts the weights.

    Raises: ModelError, for anything that is wrong with it.
    """
    checkpoint = find(str(model))
    program = llama.program(family(checkpoint.config).spec(checkpoint.config))
    named = optimised(from_checkpoint(program, checkpoint), one_step=False)
    return len(load(named, Binding({}, {}), checkpoint, memory))
