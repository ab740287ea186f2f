"""Writing keys and values into a paged state, and reading them back, by slot.

Knows nothing of who attends to them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from octavo_platforms.platform import Kernel, StateKernel, StateLayout
from octavo_platforms.specs import KVWriteSpec
from octavo_torch.ops.rope import turning
from octavo_torch.states import WRITABLE, Planes, put, take


def kv_write() -> StateKernel:
    """Make state[slots] = k, v."""

    def at(layout: StateLayout) -> Kernel:
        def run(k: Tensor, v: Tensor, slots: Tensor, state: Planes) -> None:
            write(k, v, slots, state, layout)

        return Kernel(name="torch.kv_write", run=run)

    return StateKernel(name="torch.kv_write", layouts=WRITABLE, at=at)


def rotary_kv_write(spec: KVWriteSpec) -> StateKernel:
    """Make the turn of queries and keys as one, and the write."""
    turn = turning(interleaved=bool(spec.interleaved))

    def at(layout: StateLayout) -> Kernel:
        def run(
            q: Tensor, k: Tensor, v: Tensor, table: Tensor, slots: Tensor, state: Planes
        ) -> Tensor:
            turned = turn(beside(q, k), table)
            query, key = torch.split_with_sizes(turned, (q.shape[1], k.shape[1]), 1)
            write(key, v, slots, state, layout)
            return query

        return Kernel(name="torch.rotary_kv_write", run=run)

    return StateKernel(name="torch.rotary_kv_write", layouts=WRITABLE, at=at)


def kv_read() -> StateKernel:
    """Make k, v = state[slots]."""

    def at(layout: StateLayout) -> Kernel:
        def run(slots: Tensor, state: Planes) -> tuple[Tensor, Tensor]:
            keys, values = (take(plane, layout, slots) for plane in state)
            return keys, values

        return Kernel(name="torch.kv_read", run=run)

    return StateKernel(name="torch.kv_read", layouts=WRITABLE, at=at)


def write(k: Tensor, v: Tensor, slots: Tensor, state: Planes, layout: StateLayout) -> None:
    """Store keys and values. Shapes: k, v [T, K, D]; slots [T]."""
    where = slots.long()
    for plane, rows in zip(state, (k, v), strict=True):
        put(plane, layout, where, rows)


def beside(q: Tensor, k: Tensor) -> Tensor:
    """Join heads [T, H, D] and [T, K, D]; a view where they already stand side by side."""
    num_tokens, num_heads, width = q.shape
    steps, own_steps = q.stride(), k.stride()
    if (
        steps[1:] == own_steps[1:] == (width, 1)
        and (num_tokens == 1 or steps[0] == own_steps[0])
        and q.storage_offset() + num_heads * width == k.storage_offset()
        and q.untyped_storage().data_ptr() == k.untyped_storage().data_ptr()
    ):
        return q.as_strided((num_tokens, num_heads + k.shape[1], width), steps)
    return torch.cat((q, k), 1)
