"""What platforms on PyTorch share: every op of the catalogue on any `torch.device`.

A vendor's plugin is an object made from `TorchPlatform`: a name, a torch device, three small
functions that look at the hardware, and `overrides`, plugin objects whose kernels are asked
before the ones here. With no override at all it runs every model.

    platform    the hooks; imports torch only when a device is opened
    context     an opened device
    memory      host arrays to torch tensors and back, to the bit
    parcel      a launch's host arrays, sent in one copy
    ladder      the few sizes of steps, for devices that compile each new shape
    states      the paged state: its layouts, and views of its planes
    ranks       processes that talk over gloo
    ops/        a kernel for each primitive, a file a family, and the compounds that pay
    calls       a bound graph as a flat list of calls
    program     launches, outputs, warm-up

A launch runs on the thread that calls `launch`; nothing here starts one. Test it with
`platforms/torch/tests`, which needs no accelerator.
"""

from __future__ import annotations

from octavo_torch.platform import TorchPlatform

__all__ = ["TorchPlatform"]
