"""Attention over a paged state: gather a request's blocks, then attend to plain matrices.

    sort out (once a step) ─> gather blocks ─> clean unwritten slots ─> attend ─> put in place

Query heads that share a KV head are folded into the rows of one matrix, so that keys and
values are never repeated; a state's only plane is keys and values both. How a gathered bucket
is attended to is given (`decode`), so that a plugin with a faster way for its device brings that
way and nothing else.

Knows nothing of how requests are sorted out (`buckets`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from octavo_platforms.inputs import StepInputs
from octavo_platforms.platform import Kernel, StateKernel, StateLayout
from octavo_platforms.specs import AttentionSpec
from octavo_torch.dtypes import TORCH_OF
from octavo_torch.ops.buckets import Bucket, Long, Sorted, Sorter
from octavo_torch.ops.decode import Decode, Own, decoding, own_of
from octavo_torch.states import LAYOUTS, SLOTS_FIRST, Planes

# What the calls of one more bucket cost, and what is gathered at a time, in bytes of keys and
# values; measured: on a CPU, where a call is cheap, and a cache holds this much.
BUCKET_COST_BYTES = 800_000
GATHERED_BYTES = 32 << 20
SCORES_BYTES = 32 << 20  # scores of a prompt that are held at a time, where no fused way makes them


def attention(
    spec: AttentionSpec,
    device: torch.device,
    *,
    name: str = "torch.attention",
    layouts: tuple[StateLayout, ...] = LAYOUTS,
    decode: Decode | None = None,
    mask_dtype: torch.dtype | None = None,
) -> StateKernel:
    """Make attention, with a way to attend to buckets and the dtype that its masks have."""
    decode = decode or decoding(spec, is_host=device.type == "cpu")
    masks = TORCH_OF[spec.dtype] if mask_dtype is None else mask_dtype

    def at(layout: StateLayout) -> Kernel:
        paged = _Paged(spec, layout, decode, masks, device)
        return Kernel(name=name, run=paged.run, prepare=paged.prepare)

    return StateKernel(name=name, layouts=layouts, at=at)


class _Paged:
    """Attention in one layout, and the scratch space that its gathers share."""

    def __init__(
        self,
        spec: AttentionSpec,
        layout: StateLayout,
        decode: Decode,
        mask_dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._spec = spec
        self._is_slots_first = layout == SLOTS_FIRST
        self._decode = decode
        self._bent = decoding(spec, is_host=device.type == "cpu")
        self._scratch: Planes | None = None
        self._heads_at: Tensor | None = None
        block_bytes = spec.state.bytes_per_block // spec.state.layers
        self._sorter = Sorter(
            group=spec.state.name,
            block_size=spec.state.block_size,
            bucket_cost_blocks=max(1, BUCKET_COST_BYTES // block_bytes),
            max_bucket_blocks=max(1, GATHERED_BYTES // block_bytes),
            mask_dtype=mask_dtype,
            device=device,
            window=spec.window,
            has_away=spec.slopes,
        )

    def prepare(self, inputs: StepInputs) -> Sorted:
        """Sort the step's requests out."""
        return self._sorter(inputs)

    def run(
        self,
        q: Tensor,
        query_starts: Tensor,
        computed: Tensor,
        block_table: Tensor,
        state: Planes,
        *behind: Tensor,
        prepared: Sorted,
    ) -> Tensor:
        """Attend each new token to its own request's past and to itself."""
        own = own_of(self._spec, behind)
        if not prepared.longs and len(prepared.buckets) == 1:
            (bucket,) = prepared.buckets
            if bucket.tokens is None:
                return self._attend_bucket(q, state, bucket, own)
        out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        for bucket in prepared.buckets:
            assert bucket.tokens is not None
            mine = q.index_select(0, bucket.tokens)
            found = self._attend_bucket(mine, state, bucket, own)
            out.index_copy_(0, bucket.tokens, found)
        for long in prepared.longs:
            part = slice(long.start, long.stop)
            self._attend_long(q[part], state, long, out[part], own)
        return out

    def _attend_bucket(self, q: Tensor, state: Planes, bucket: Bucket, own: Own) -> Tensor:
        spec = self._spec
        groups = spec.num_heads // spec.num_kv_heads
        folded = q.view(q.shape[0], spec.num_kv_heads, groups, spec.head_width)
        index = bucket.blocks
        if not self._is_slots_first:
            index = (self._first_rows(state[0]) + index).view(-1)
        planes = [
            self._gathered(plane, scratch, bucket, index)
            for plane, scratch in zip(state, self._space(state, bucket), strict=True)
        ]
        decode, mask = own.way(self._decode, spec), own.mask(bucket.mask, bucket.away)
        found = decode(folded, planes[0], planes[-1], mask, spec.scale)
        return found.reshape(q.shape)

    def _attend_long(self, q: Tensor, state: Planes, long: Long, out: Tensor, own: Own) -> None:
        spec = self._spec
        groups = spec.num_heads // spec.num_kv_heads
        folded = q.view(len(q), spec.num_kv_heads, groups, spec.head_width).permute(1, 2, 0, 3)
        planes = [self._context(plane, long)[:, None].expand(-1, groups, -1, -1) for plane in state]
        if spec.softcap is None and own.sinks is None and own.slopes is None:
            found = F.scaled_dot_product_attention(
                folded,
                planes[0],
                planes[-1],
                attn_mask=long.mask,
                is_causal=long.mask is None,
                scale=spec.scale,
            )
        else:
            mask = _causal(len(q), q.device) if long.mask is None else long.mask
            at_once = max(1, SCORES_BYTES // (groups * len(q) * long.context * 4))
            parts = [slice(at, at + at_once) for at in range(0, spec.num_kv_heads, at_once)]
            heads = [(own.of_heads(part), part) for part in parts]
            found = torch.cat(
                [
                    few.way(self._bent, spec)(
                        folded[part],
                        planes[0][part],
                        planes[-1][part],
                        few.mask(mask, long.away),
                        spec.scale,
                    )
                    for few, part in heads
                ]
            )
        out.view(len(q), spec.num_kv_heads, groups, spec.head_width).copy_(
            found.permute(2, 0, 1, 3)
        )

    def _context(self, plane: Tensor, long: Long) -> Tensor:
        """Gather one request's context. Shapes: returns [K, context, D]."""
        if self._is_slots_first:
            found = plane.index_select(0, long.blocks).flatten(0, 1)
            return found[: long.context].transpose(0, 1)
        return plane.index_select(1, long.blocks).flatten(1, 2)[:, : long.context]

    def _first_rows(self, plane: Tensor) -> Tensor:
        """Give each head's first block among those of all heads. Shapes: returns [K, 1]."""
        num_heads, num_blocks = plane.shape[:2]
        if self._heads_at is None:
            rows = torch.arange(num_heads, device=plane.device) * num_blocks
            self._heads_at = rows[:, None]
        return self._heads_at

    def _gathered(self, plane: Tensor, scratch: Tensor, bucket: Bucket, index: Tensor) -> Tensor:
        """Gather a bucket, its unwritten slots cleaned. Shapes: returns [R, K, context, D]."""
        num_heads, width = self._spec.num_kv_heads, self._spec.head_width
        slots = bucket.num_blocks * self._spec.state.block_size
        if self._is_slots_first:
            torch.index_select(plane, 0, index, out=scratch.view(-1, *plane.shape[1:]))
            found = scratch.view(bucket.num_requests * slots, num_heads, width)
            if bucket.tail is not None:
                found.index_fill_(0, bucket.tail, 0)
            found = found.view(bucket.num_requests, slots, num_heads, width)
            return found[:, : bucket.context].transpose(1, 2)
        by_head = plane.view(-1, plane.shape[2] * width)
        torch.index_select(by_head, 0, index, out=scratch.view(-1, by_head.shape[1]))
        found = scratch.view(num_heads, bucket.num_requests * slots, width)
        if bucket.tail is not None:
            found.index_fill_(1, bucket.tail, 0)
        found = found.view(num_heads, bucket.num_requests, slots, width)
        return found[:, :, : bucket.context].transpose(0, 1)

    def _space(self, state: Planes, bucket: Bucket) -> Planes:
        """Give room for what a bucket gathers of each plane, kept from step to step.

        Fresh memory costs a page fault every four kilobytes, which is dearer than the gather.
        """
        spec = self._spec
        block = spec.state.block_size * spec.num_kv_heads * spec.head_width
        needed = bucket.num_requests * bucket.num_blocks * block
        if self._scratch is None or self._scratch[0].numel() < needed:
            self._scratch = tuple(plane.new_empty(needed * 5 // 4) for plane in state)
        return tuple(scratch[:needed] for scratch in self._scratch)


def _causal(num_tokens: int, device: torch.device) -> Tensor:
    """Make the mask of a request without a past. Shapes: returns [Q, Q]."""
    never = torch.full((num_tokens, num_tokens), float("-inf"), device=device)
    return never.triu(1)
