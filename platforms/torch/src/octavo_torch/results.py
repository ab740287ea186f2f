"""Results: what launches made, on its way to the host while later launches are queued.

    queued on the device   step 1 │ copy 1 │ mark 1 │ step 2 │ copy 2 │ mark 2
                                                ^ reading step 1 waits until here

A copy that the host asks for when it reads would stand behind step 2, which is queued already.
So results are copied where their launch ends, into pinned memory, which the device writes
without the host. Large ones, such as logits, which are rarely read, stay until they are. So do
all, where the device can pin no memory.

Knows nothing of what the results mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from octavo_platforms.inputs import DeviceRef, StepResult, is_tap, made_tokens
from octavo_platforms.tensor import HostTensor
from octavo_torch.context import TorchContext
from octavo_torch.memory import tensor_of, to_host

Cut = tuple[slice, ...]
WHOLE: Mapping[str, Cut] = MappingProxyType({})
SENT_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class TorchRef:
    """An output that stays on the device."""

    name: str
    tensor: torch.Tensor


@dataclass(frozen=True, slots=True)
class TorchPending:
    """A launch whose work was given to the device.

    `on_host` are copies that stand there once `done`, which is None where all is done already.
    `cut_of` leaves padding out of what is read.
    """

    outputs: Mapping[str, torch.Tensor]
    on_host: Mapping[str, torch.Tensor]
    done: torch.Event | None
    cut_of: Mapping[str, Cut]

    def ref(self, output: str) -> DeviceRef:
        """Name an output as the input of a later launch."""
        return TorchRef(output, self.outputs[output])

    def ready(self) -> bool:
        """Tell whether the device has come to the end of it."""
        return self.done is None or self.done.query()

    def read(self) -> StepResult:
        """Wait for this launch, and for later ones only where an output was too large to send."""
        if self.done is not None:
            self.done.synchronize()
        return made_tokens({name: self._read(name) for name in self.outputs if not is_tap(name)})

    def _read(self, name: str) -> HostTensor:
        found = self.on_host.get(name, self.outputs[name])
        return to_host(found[self.cut_of.get(name, ())])


def launched(
    made: Mapping[str, object], context: TorchContext, cut_of: Mapping[str, Cut] = WHOLE
) -> TorchPending:
    """Send a launch's results on their way, and mark its end. Called where the launch ends."""
    outputs = {name: tensor_of(value) for name, value in made.items()}
    if context.device.type == "cpu":
        return TorchPending(outputs, {}, None, cut_of)
    sent = {
        name: _sent(tensor)
        for name, tensor in outputs.items()
        if context.can_pin and not is_tap(name) and tensor.nbytes <= SENT_BYTES
    }
    done = torch.Event(context.device)
    done.record()
    return TorchPending(outputs, sent, done, cut_of)


def _sent(tensor: torch.Tensor) -> torch.Tensor:
    room = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return room.copy_(tensor, non_blocking=True)
