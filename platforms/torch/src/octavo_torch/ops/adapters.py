"""Adapters: what each request's own low-rank weights add to a linear layer.

On a host each adapted request is two small products. Where the host must not wait for the
device, every slot multiplies every row, and each row takes its own.

Knows nothing of which layers are adapted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from octavo_platforms.graph import TensorType
from octavo_platforms.ops.op import fixed, integer
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec
from octavo_torch.ops.rows import request_of


def _columns(spec: OpSpec) -> slice:
    stack = spec.inputs[3]
    assert isinstance(stack, TensorType)
    first = integer(dict(spec.attrs), "first")
    return slice(first, first + fixed(stack.shape[1]))


def lora_delta(spec: OpSpec) -> Kernel:
    """Make the addition, one request at a time."""
    columns = _columns(spec)

    def run(
        y: Tensor, x: Tensor, a: Tensor, b: Tensor, slots: Tensor, query_starts: Tensor
    ) -> Tensor:
        found, starts = y.clone(), query_starts.tolist()
        for request, slot in enumerate(slots.tolist()):
            start, stop = starts[request : request + 2]
            if slot and start < stop:
                own = found[start:stop, columns]
                own.copy_(own.float() + _product(x[start:stop], a[slot], b[slot]))
        return found

    return Kernel(name="torch.lora_delta", run=run)


def lora_delta_without_waiting(spec: OpSpec) -> Kernel:
    """Make the addition for every slot, of which each row keeps its own."""
    columns = _columns(spec)

    def run(
        y: Tensor, x: Tensor, a: Tensor, b: Tensor, slots: Tensor, query_starts: Tensor
    ) -> Tensor:
        tokens = torch.arange(x.shape[0], dtype=torch.int32, device=x.device)
        own = slots.index_select(0, request_of(tokens, query_starts))[:, None]
        found = y.clone()
        for slot in range(1, a.shape[0]):
            before = found[:, columns]
            added = before.float() + _product(x, a[slot], b[slot])
            found[:, columns] = torch.where(own == slot, added.to(y.dtype), before)
        return found

    return Kernel(name="torch.lora_delta_everywhere", run=run)


def _product(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Give x @ a.T @ b.T in float32. Shapes: [T, I], [r, I], [O, r]; returns [T, O]."""
    return x.float() @ a.float().T @ b.float().T


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType({"lora_delta": lora_delta})
WITHOUT_WAITING: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {"lora_delta": lora_delta_without_waiting}
)
