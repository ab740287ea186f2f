"""An opened torch device.

Knows nothing of programs.
"""

from __future__ import annotations

import torch

from octavo_platforms.capabilities import DeviceInfo
from octavo_platforms.platform import DeviceContext
from octavo_torch.memory import TorchMemory
from octavo_torch.ranks import Rendezvous


class TorchContext:
    """One opened device and its memory.

    `batch_invariant` says that no token's bits may depend on its batch; `rendezvous` is where
    other ranks are met. `can_pin` says that there is host memory which the device writes while
    the host does something else.
    """

    def __init__(
        self,
        info: DeviceInfo,
        device: torch.device,
        memory: TorchMemory,
        *,
        rendezvous: Rendezvous,
        batch_invariant: bool = False,
    ) -> None:
        self.device = device
        self.memory = memory
        self.batch_invariant = batch_invariant
        self.rendezvous = rendezvous
        self.can_pin = _can_pin(device)
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


def _can_pin(device: torch.device) -> bool:
    if device.type == "cpu":
        return False
    try:
        torch.empty(1, pin_memory=True)
    except RuntimeError:
        return False
    return True
