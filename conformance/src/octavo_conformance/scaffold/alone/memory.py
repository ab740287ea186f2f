"""The device's memory, which here is the host's: every tensor is a numpy array of its own.

Knows nothing of programs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from octavo_platforms.capabilities import DeviceInfo, MemoryStats
from octavo_platforms.platform import DeviceContext, DeviceTensor
from octavo_platforms.tensor import DType, HostTensor, storage


@dataclass
class OpenHost:
    """An opened device. What is kept between calls is kept here: how many bytes were given."""

    devices: tuple[DeviceInfo, ...]
    used_bytes: int = 0

    def close(self) -> None:
        """Do nothing: arrays go with their last holder."""


class HostMemory:
    """Tensors are `HostTensor`s that nobody else holds; what was handed out is counted."""

    def __init__(self, context: OpenHost) -> None:
        self._context = context

    def alloc(self, shape: tuple[int, ...], dtype: DType) -> DeviceTensor:
        """Give a tensor of zeros."""
        return self._counted(HostTensor(np.zeros(shape, storage(dtype)), dtype))

    def free(self, tensor: DeviceTensor) -> None:
        """Let go of a tensor's elements at once, whoever still holds the tensor."""
        held = held_by(tensor)
        self._context.used_bytes -= held.num_bytes
        held.array.resize(0, refcheck=False)

    def to_device(self, tensor: HostTensor) -> DeviceTensor:
        """Copy."""
        return self._counted(HostTensor(np.array(tensor.array, order="C"), tensor.dtype))

    def to_host(self, tensor: DeviceTensor) -> HostTensor:
        """Copy."""
        held = held_by(tensor)
        return HostTensor(held.array.copy(), held.dtype)

    def stats(self) -> MemoryStats:
        """Count what was not handed out."""
        total = self._context.devices[0].memory_bytes
        return MemoryStats(total, max(0, total - self._context.used_bytes))

    def _counted(self, tensor: HostTensor) -> DeviceTensor:
        self._context.used_bytes += tensor.num_bytes
        return DeviceTensor(tensor)


def opened(context: DeviceContext) -> OpenHost:
    """See a context as what was opened here."""
    assert isinstance(context, OpenHost)
    return context


def held_by(tensor: object) -> HostTensor:
    """See a device tensor as what it is here."""
    assert isinstance(tensor, HostTensor)
    return tensor


def host_bytes() -> int:
    """Ask the system how much memory there is."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
