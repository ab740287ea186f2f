"""Paged states: the layouts that the kernels here know, and views of a plane.

    slots first   [B, P, K, D]   a slot's heads together
    heads first   [K, B, P, D]   a head's slots together, so that the heads of gathered
                                 blocks are one batch of contiguous matrices
    rows          [B, P, C]      latents: a slot has one row, and no heads

Attention here knows these. Writing and reading know every order whose last axis is D, so
that a plugin's own attention may keep its state in another and bring nothing else.

Knows nothing of attention.
"""

from __future__ import annotations

from itertools import permutations

import torch

from octavo_platforms.platform import DeviceTensor, Memory, StateLayout
from octavo_platforms.program import StateSpec
from octavo_platforms.specs import CompileSpec

SLOTS_FIRST = StateLayout("slots first", ("B", "P", "K", "D"))
HEADS_FIRST = StateLayout("heads first", ("K", "B", "P", "D"))
LAYOUTS = (SLOTS_FIRST, HEADS_FIRST)
ROWS = StateLayout("rows", ("B", "P", "C"))
WRITABLE = (
    *LAYOUTS,
    *(
        layout
        for order in permutations("BPK")
        if (layout := StateLayout("".join(order) + "D", (*order, "D"))) not in LAYOUTS
    ),
)

Planes = tuple[torch.Tensor, ...]


def put(plane: torch.Tensor, layout: StateLayout, slots: torch.Tensor, rows: torch.Tensor) -> None:
    """Store rows by slot, in any layout. Shapes: slots int64 [T]; rows [T, K, D]."""
    if layout in LAYOUTS:
        by_slot(plane, layout).index_put_((slots,), rows)
    else:
        blocks = by_block(plane, layout)
        size = blocks.shape[1]
        blocks.index_put_((slots // size, slots % size), rows)


def take(plane: torch.Tensor, layout: StateLayout, slots: torch.Tensor) -> torch.Tensor:
    """Give what slots hold, in any layout. Shapes: slots [T]; returns [T, K, D]."""
    if layout in LAYOUTS:
        return by_slot(plane, layout).index_select(0, slots)
    blocks = by_block(plane, layout)
    size = blocks.shape[1]
    return blocks[slots // size, slots % size]


def allocated(
    state: StateSpec, spec: CompileSpec, memory: Memory
) -> list[tuple[DeviceTensor, ...]]:
    """Give each layer's planes, as zeros, in the layout that was agreed on."""
    layout, num_blocks = spec.binding.layouts[state.name], spec.num_blocks[state.name]
    return [
        tuple(
            memory.alloc(
                layout.shape(plane, num_blocks=num_blocks, block_size=state.block_size),
                plane.dtype,
            )
            for plane in state.planes
        )
        for _ in range(state.layers)
    ]


def by_slot(plane: torch.Tensor, layout: StateLayout) -> torch.Tensor:
    """See a plane as one row a slot, in slots or heads first. Shapes: returns [B * P, K, D]."""
    if layout == SLOTS_FIRST:
        return plane.flatten(0, 1)
    return plane.flatten(1, 2).transpose(0, 1)


def by_block(plane: torch.Tensor, layout: StateLayout) -> torch.Tensor:
    """See a plane as blocks of slots, in any layout. Shapes: returns [B, P, K, D], a view."""
    return plane.permute(*(layout.axes.index(axis) for axis in SLOTS_FIRST.axes))
