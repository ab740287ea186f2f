"""Attention, one request at a time, over blocks in any order of axes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from octavo_platforms.inputs import StepInputs
from octavo_platforms.platform import Kernel, StateLayout
from octavo_platforms.specs import AttentionSpec


@dataclass(frozen=True)
class Part:
    """One request's tokens in the step, and where its context lies."""

    start: int
    stop: int
    context: int
    blocks: Tensor


def kernel(spec: AttentionSpec, layout: StateLayout) -> Kernel:
    """Make attention in one layout."""
    order = [layout.axes.index(axis) for axis in "KBPD"]

    def prepare(inputs: StepInputs) -> list[Part]:
        starts = inputs.query_starts.tolist()
        table = inputs.groups[spec.state.name].block_table
        parts = []
        for request, computed in enumerate(inputs.computed.tolist()):
            start, stop = starts[request], starts[request + 1]
            context = computed + stop - start
            blocks = table[request, : -(-context // spec.state.block_size)].astype("int64")
            if start < stop:
                parts.append(Part(start, stop, context, torch.from_numpy(blocks)))
        return parts

    def run(
        q: Tensor,
        query_starts: Tensor,
        computed: Tensor,
        block_table: Tensor,
        state: tuple[Tensor, Tensor],
        *,
        prepared: list[Part],
    ) -> Tensor:
        found = torch.zeros_like(q)
        for part in prepared:
            keys, values = (
                plane.permute(order)[:, part.blocks].flatten(1, 2)[None, :, : part.context]
                for plane in state
            )
            mine = q[part.start : part.stop].transpose(0, 1)[None]
            seen = torch.ones(mine.shape[2], part.context, dtype=torch.bool)
            seen = seen.tril(part.context - mine.shape[2])
            made = scaled_dot_product_attention(
                mine, keys, values, attn_mask=seen, scale=spec.scale, enable_gqa=True
            )
            found[part.start : part.stop] = made[0].transpose(0, 1)
        return found

    return Kernel(name="fork.attention", run=run, prepare=prepare)
