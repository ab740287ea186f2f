"""An opened torch device.

Knows nothing of programs.
"""

from __future__ import annotations

import torch

from octavo_platforms.capabilities import DeviceInfo
from octavo_platforms.platform import DeviceContext
from octavo_torch.memory import TorchMemory


class TorchContext:
    """One opened device and its memory."""

    def __init__(self, info: DeviceInfo, device: torch.device, memory: TorchMemory) -> None:
        self.device = device
        self.memory = memory
        self._info = info

    @property
    def devices(self) -> tuple[DeviceInfo, ...]:
        """Give the device that is open."""
        return (self._info,)

    def close(self) -> None:
        """Do nothing: tensors go with their last holder."""


def opened(context: DeviceContext) -> TorchContext:
    """See a context as what this base opened."""
    assert isinstance(context, TorchContext)
    return context
