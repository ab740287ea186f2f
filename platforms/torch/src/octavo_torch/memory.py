"""Memory: host arrays to torch tensors and back, to the bit.

A tensor owns its elements on both ways: nothing that the host does to an array afterwards
shows on the device. bfloat16, which numpy lacks, travels as uint16.

Knows nothing of what the tensors mean, nor how much memory there is (the plugin does).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import torch

from octavo_platforms.capabilities import MemoryStats
from octavo_platforms.platform import DeviceTensor
from octavo_platforms.tensor import Array, DType, HostTensor, itemsize, storage
from octavo_torch.dtypes import NAME_OF, TORCH_OF


def tensor_of(tensor: object) -> torch.Tensor:
    """See a device tensor as what it is here."""
    assert isinstance(tensor, torch.Tensor)
    return tensor


def from_host(array: Array, dtype: DType, device: torch.device) -> torch.Tensor:
    """Copy an array of any strides to a device. bfloat16 comes as its bits in uint16."""
    made = torch.empty(array.shape, dtype=TORCH_OF[dtype])
    np.copyto(_bits(made), array)
    return made if device.type == "cpu" else made.to(device)


def borrowed(tensor: HostTensor) -> torch.Tensor:
    """See a host's array as a tensor, for reading while the array lives and stays as it is.

    Effects: aliases the array, where its elements lie one after the other; else a copy.
    """
    array, dtype = tensor.array, TORCH_OF[tensor.dtype]
    if not array.size or not array.flags.c_contiguous:
        return from_host(array, tensor.dtype, torch.device("cpu"))
    # torch warns of each array that is read-only, as those of mapped files are
    lent = (ctypes.c_uint8 * array.nbytes).from_address(array.ctypes.data)
    return torch.frombuffer(lent, dtype=dtype).view(tensor.shape)


def to_host(tensor: torch.Tensor) -> HostTensor:
    """Copy a tensor to the host; waits for the device."""
    array = _bits(tensor.detach().cpu().contiguous())
    return HostTensor(np.array(array), NAME_OF[tensor.dtype])


def _bits(tensor: torch.Tensor) -> Array:
    plain = tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor
    array: Array = plain.numpy()
    return array


class TorchMemory:
    """The memory of one torch device."""

    def __init__(self, device: torch.device, stats: Callable[[], MemoryStats]) -> None:
        self._device = device
        self._stats = stats

    def alloc(self, shape: tuple[int, ...], dtype: DType) -> DeviceTensor:
        """Give a tensor of zeros. Raises: MemoryError, with the numbers."""
        try:
            return DeviceTensor(self._zeros(shape, dtype))
        except (RuntimeError, MemoryError) as error:
            raise self._too_much(shape, dtype) from error

    def _too_much(self, shape: tuple[int, ...], dtype: DType) -> MemoryError:
        asked = itemsize(dtype) * int(np.prod(shape, dtype=np.int64))
        free = self._stats().free_bytes
        return MemoryError(
            f"{dtype}{list(shape)} takes {asked} bytes, and {free} are free on {self._device}"
        )

    def _zeros(self, shape: tuple[int, ...], dtype: DType) -> torch.Tensor:
        """Give zeros; on the host, pages that the kernel clears when they are first touched."""
        if self._device.type != "cpu":
            return torch.zeros(shape, dtype=TORCH_OF[dtype], device=self._device)
        return torch.from_numpy(np.zeros(shape, storage(dtype))).view(TORCH_OF[dtype])

    def free(self, tensor: DeviceTensor) -> None:
        """Let go of a tensor's elements at once, whoever still holds the tensor."""
        held = tensor_of(tensor)
        held.set_(held.new_empty(0).untyped_storage(), 0, (0,), (1,))

    def to_device(self, tensor: HostTensor) -> DeviceTensor:
        """Copy to the device. Raises: MemoryError, with the numbers."""
        try:
            return DeviceTensor(from_host(tensor.array, tensor.dtype, self._device))
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise self._too_much(tensor.shape, tensor.dtype) from error

    def to_host(self, tensor: DeviceTensor) -> HostTensor:
        """Copy to the host; waits for the device."""
        return to_host(tensor_of(tensor))

    def stats(self) -> MemoryStats:
        """Tell how much there is and how much is free."""
        return self._stats()
