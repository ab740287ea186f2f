"""Attention where only the device knows how long contexts are: drafts are in flight.

The host's numbers are upper bounds, enough for the block table and for nothing else. Each
token gathers its request's whole row of the table, and what lies past its own position is
zeroed and hidden, by lengths that were made on the device. Nothing is prepared on the host.

Knows nothing of how lengths are made.
"""

from __future__ import annotations

import torch
from torch import Tensor

from octavo_platforms.platform import Kernel, StateKernel, StateLayout
from octavo_platforms.specs import AttentionSpec
from octavo_torch.ops.attention import GATHERED_BYTES
from octavo_torch.ops.buckets import how_far
from octavo_torch.ops.decode import Decode, Own, decoding, own_of
from octavo_torch.ops.rows import request_of
from octavo_torch.states import LAYOUTS, Planes, by_block


def bounded_attention(
    spec: AttentionSpec, *, name: str = "torch.bounded_attention", decode: Decode | None = None
) -> StateKernel:
    """Make attention by lengths of the device, with a way to attend to what was gathered."""

    def at(layout: StateLayout) -> Kernel:
        return Kernel(name=name, run=_Bounded(spec, layout, decode or decoding(spec)).run)

    return StateKernel(name=name, layouts=LAYOUTS, at=at)


class _Bounded:
    """Attention in one layout."""

    def __init__(self, spec: AttentionSpec, layout: StateLayout, decode: Decode) -> None:
        self._spec = spec
        self._layout = layout
        self._decode = decode
        self._block_bytes = spec.state.bytes_per_block // spec.state.layers

    def run(
        self,
        q: Tensor,
        query_starts: Tensor,
        computed: Tensor,
        block_table: Tensor,
        state: Planes,
        *behind: Tensor,
    ) -> Tensor:
        """Attend each new token to its own request's past and to itself."""
        tokens = torch.arange(q.shape[0], dtype=torch.int32, device=q.device)
        owners = request_of(tokens, query_starts)
        first = computed - query_starts[:-1]
        positions = (first.index_select(0, owners) + tokens).clamp_(min=0)
        at_once = max(1, GATHERED_BYTES // (block_table.shape[1] * self._block_bytes))
        own, rows = own_of(self._spec, behind), block_table
        found = [
            self._attend(q[part], positions[part], rows[owners[part].long()], state, own)
            for part in (slice(at, at + at_once) for at in range(0, max(1, len(q)), at_once))
        ]
        return torch.cat(found)

    def _attend(
        self, q: Tensor, positions: Tensor, blocks: Tensor, state: Planes, own: Own
    ) -> Tensor:
        spec = self._spec
        num_slots = blocks.shape[1] * spec.state.block_size
        slots = torch.arange(num_slots, dtype=torch.int32, device=q.device)
        is_hidden = slots > positions[:, None]
        if spec.window is not None:
            is_hidden |= slots <= positions[:, None] - spec.window
        planes = [
            by_block(plane, self._layout)
            .index_select(0, blocks.reshape(-1))
            .view(len(q), num_slots, spec.num_kv_heads, spec.head_width)
            .masked_fill_(is_hidden[:, :, None, None], 0)
            .transpose(1, 2)
            for plane in state
        ]
        mask = torch.zeros(is_hidden.shape, dtype=q.dtype, device=q.device)
        mask.masked_fill_(is_hidden, float("-inf"))
        groups = spec.num_heads // spec.num_kv_heads
        folded = q.view(len(q), spec.num_kv_heads, groups, spec.head_width)
        away = how_far(slots, positions[:, None, None, None]) if spec.slopes else None
        leaning = own.mask(mask[:, None, None], away)
        decode = own.way(self._decode, spec)
        found = decode(folded, planes[0], planes[-1], leaning, spec.scale)
        return found.reshape(q.shape)
