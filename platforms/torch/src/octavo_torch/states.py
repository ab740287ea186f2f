"""Paged states: the two layouts that the kernels here know, and views of a plane.

    slots first   [B, P, K, D]   a slot's heads together
    heads first   [K, B, P, D]   a head's slots together, so that the heads of gathered
                                 blocks are one batch of contiguous matrices

Knows nothing of attention.
"""

from __future__ import annotations

import torch

from octavo_platforms.platform import StateLayout

SLOTS_FIRST = StateLayout("slots first", ("B", "P", "K", "D"))
HEADS_FIRST = StateLayout("heads first", ("K", "B", "P", "D"))
LAYOUTS = (SLOTS_FIRST, HEADS_FIRST)

Planes = tuple[torch.Tensor, torch.Tensor]


def by_slot(plane: torch.Tensor, layout: StateLayout) -> torch.Tensor:
    """See a plane as one row a slot, in any layout. Shapes: returns [B * P, K, D], a view."""
    if layout == SLOTS_FIRST:
        return plane.flatten(0, 1)
    return plane.flatten(1, 2).transpose(0, 1)
