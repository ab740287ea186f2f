"""Attention in shapes that follow from the launch's own: for devices that compile each new shape.

    tokens     a a a a a b c c c . .        three requests, two tokens of padding
    tiles      [a a a a] [a . . .] [b . . .] [c c c .]          here of four tokens

A tile has tokens of one request, and its request's whole row of the block table is gathered for
it. How many tiles there can be follows from the sizes of the launch, and so does everything
else: steps with equal sizes run the same ops on the same shapes, whatever is in them. Steps
that may have a token of every request are cut into tiles of one.

What must not be read may hold not-a-number: slots past a tile's last position are zeroed
after they were gathered.

Knows nothing of who wrote the state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from octavo_platforms.inputs import StepInputs
from octavo_platforms.platform import Kernel, StateKernel, StateLayout
from octavo_platforms.specs import AttentionSpec
from octavo_torch.dtypes import TORCH_OF
from octavo_torch.ops.attention import GATHERED_BYTES
from octavo_torch.ops.buckets import how_far
from octavo_torch.ops.decode import Decode, Own, decoding, own_of
from octavo_torch.parcel import Cargo, Parcel
from octavo_torch.states import SLOTS_FIRST, Planes

Cut = Callable[[StepInputs, str], tuple[Cargo, ...]]

TILE_TOKENS = 16
NOBODY = -1


@dataclass(frozen=True, slots=True)
class Tiles:
    """A step cut into tiles, on the device.

    Shapes: token [N * Q], the token at each place of a tile; place [T], where each token went;
        blocks [N, M]; mask [N, 1, Q * G, S], 0 or the dtype's lowest; unread [N, S]; away as
        mask, from query to key, None where nobody asks.
    """

    token: Tensor
    place: Tensor
    blocks: Tensor
    mask: Tensor
    unread: Tensor
    away: Tensor | None


def cut_by_size(inputs: StepInputs, group: str) -> tuple[Cargo, ...]:
    """Cut a step into tiles.

    Shapes: gives int32 token [N * Q], position [N, Q], place [T], blocks [N, M]; padding has
        the position -1.
    """
    table, starts = inputs.groups[group].block_table, inputs.query_starts
    num_tokens, num_requests = len(inputs.token_ids), len(inputs.computed)
    size = 1 if num_tokens <= num_requests else TILE_TOKENS
    num_tiles = min(num_tokens, num_tokens // size + num_requests)
    lengths = np.diff(starts)
    counts = -(-lengths // size)
    ends = np.cumsum(counts)
    tiles = np.arange(num_tiles)
    request = np.minimum(np.searchsorted(ends, tiles, side="right"), num_requests - 1)
    offset = (tiles - (ends - counts)[request])[:, None] * size + np.arange(size)
    is_there = offset < lengths[request][:, None]
    token = np.where(is_there, starts[:-1][request][:, None] + offset, 0)
    position = np.where(is_there, inputs.computed[request][:, None] + offset, NOBODY)
    place = np.zeros(num_tokens, np.int32)
    place[token[is_there]] = np.flatnonzero(is_there)
    return tuple(
        (found.astype(np.int32, copy=False), "int32")
        for found in (token.reshape(-1), position, place, table[request])
    )


def tiled_attention(
    spec: AttentionSpec,
    *,
    name: str = "torch.tiled_attention",
    decode: Decode | None = None,
    cut: Cut = cut_by_size,
) -> StateKernel:
    """Make attention over tiles, with a way to cut them and a way to attend to gathered ones."""
    tiled = _Tiled(spec, decode or decoding(spec), cut)

    def at(layout: StateLayout) -> Kernel:
        return Kernel(name=name, run=tiled.run, prepare=tiled.prepare)

    return StateKernel(name=name, layouts=(SLOTS_FIRST,), at=at)


class _Tiled:
    """Attention at one spec."""

    def __init__(self, spec: AttentionSpec, decode: Decode, cut: Cut) -> None:
        self._spec = spec
        self._decode = decode
        self._cut = cut
        self._groups = spec.num_heads // spec.num_kv_heads
        self._block_bytes = spec.state.bytes_per_block // spec.state.layers

    def prepare(self, inputs: StepInputs) -> Parcel:
        """Cut a step into tiles."""
        return Parcel(self._cut(inputs, self._spec.state.name), self._unpack)

    def run(
        self,
        q: Tensor,
        query_starts: Tensor,
        computed: Tensor,
        block_table: Tensor,
        state: Planes,
        *behind: Tensor,
        prepared: Tiles,
    ) -> Tensor:
        """Attend each new token to its own request's past and to itself."""
        spec, num_tiles = self._spec, prepared.blocks.shape[0]
        by_group = (num_tiles, -1, spec.num_kv_heads, self._groups, spec.head_width)
        asked = q.index_select(0, prepared.token).view(by_group).transpose(1, 2)
        rows = asked.reshape(num_tiles, spec.num_kv_heads, -1, spec.head_width)
        own = own_of(spec, behind, rows.shape[2] // self._groups)
        at_once = max(1, GATHERED_BYTES // (prepared.blocks.shape[1] * self._block_bytes))
        found = torch.cat(
            [
                self._attend(rows, prepared, state, slice(first, first + at_once), own)
                for first in range(0, num_tiles, at_once)
            ]
        )
        apart = found.view(num_tiles, spec.num_kv_heads, -1, self._groups, spec.head_width)
        by_place = apart.transpose(1, 2).reshape(-1, spec.num_heads, spec.head_width)
        return by_place.index_select(0, prepared.place)

    def _attend(self, rows: Tensor, tiles: Tiles, state: Planes, part: slice, own: Own) -> Tensor:
        unread, blocks = tiles.unread[part], tiles.blocks[part]
        planes = [
            plane.index_select(0, blocks.reshape(-1))
            .view(*unread.shape, *plane.shape[2:])
            .masked_fill_(unread[:, :, None, None], 0)
            .transpose(1, 2)
            for plane in state
        ]
        decode = own.way(self._decode, self._spec)
        mask = own.mask(tiles.mask[part], None if tiles.away is None else tiles.away[part])
        return decode(rows[part], planes[0], planes[-1], mask, self._spec.scale)

    def _unpack(self, tensors: Sequence[Tensor]) -> Tiles:
        token, position, place, blocks = tensors
        num_slots = blocks.shape[1] * self._spec.state.block_size
        slots = torch.arange(num_slots, dtype=torch.int32, device=blocks.device)
        asking = position[:, :, None].expand(-1, -1, self._groups).flatten(1)
        is_hidden = slots > asking[:, :, None]
        unread = slots > position.amax(1, keepdim=True)
        if self._spec.window is not None:
            is_hidden |= slots <= asking[:, :, None] - self._spec.window
            first = position.masked_fill(position == NOBODY, num_slots).amin(1, keepdim=True)
            unread |= slots <= first - self._spec.window
        mask = torch.zeros(is_hidden.shape, dtype=TORCH_OF[self._spec.dtype], device=slots.device)
        # The lowest number, not -inf: a row of padding sees nothing, and must stay a number.
        mask.masked_fill_(is_hidden, torch.finfo(mask.dtype).min)
        away = how_far(slots, asking[:, None, :, None]) if self._spec.slopes else None
        return Tiles(token, place, blocks, mask[:, None], unread, away)
