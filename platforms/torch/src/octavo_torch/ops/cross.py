"""Cross attention: tiles of tokens that all look at the whole of what their request has.

The tiles are those of attention, and every token of a tile stands at the last slot that there
is. Where there is none, all slots are hidden and zero, and so is what comes out.

Knows nothing of encoders.
"""

from __future__ import annotations

import numpy as np

from octavo_platforms.inputs import NULL_BLOCK, StepInputs
from octavo_platforms.platform import StateKernel
from octavo_platforms.specs import AttentionSpec, CrossAttentionSpec
from octavo_torch.ops.tiles import NOBODY, cut_by_size, tiled_attention
from octavo_torch.parcel import Cargo


def cross_attention(spec: CrossAttentionSpec) -> StateKernel:
    """Make attention over all slots that a launch says each request has."""
    causal = AttentionSpec(
        num_heads=spec.num_heads,
        num_kv_heads=spec.num_kv_heads,
        head_width=spec.head_width,
        scale=spec.scale,
        dtype=spec.dtype,
        state=spec.state,
    )
    return tiled_attention(causal, name="torch.cross_attention", cut=cut_to_the_end)


def cut_to_the_end(inputs: StepInputs, group: str) -> tuple[Cargo, ...]:
    """Cut a step into tiles whose tokens stand at their request's last slot.

    Shapes: as `cut_by_size` gives them.
    """
    lengths = inputs.groups[group].lengths
    assert lengths is not None, f"a launch says how many slots each request has in '{group}'"
    token, (position, dtype), place, (blocks, kind) = cut_by_size(inputs, group)
    owner = np.searchsorted(inputs.query_starts[1:], token[0], side="right")
    last = lengths[np.minimum(owner, len(lengths) - 1)].reshape(position.shape) - 1
    whole = np.where(position == NOBODY, NOBODY, last).astype(np.int32)
    if not blocks.shape[1]:
        blocks = np.full((len(blocks), 1), NULL_BLOCK, np.int32)
    return token, (whole, dtype), place, (blocks, kind)
