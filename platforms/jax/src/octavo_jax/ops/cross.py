"""Cross attention: that over blocks, with every token at its request's last slot.

Knows nothing of encoders.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from octavo_jax.ops.attention import attend_tiles, cut
from octavo_jax.ops.rows import take
from octavo_jax.states import Planes, state_kernel
from octavo_platforms.platform import StateKernel
from octavo_platforms.specs import CrossAttentionSpec


def bind_cross_attention(spec: CrossAttentionSpec) -> StateKernel:
    """Give attention to all slots that each request has."""

    def run(
        q: Array, query_starts: Array, lengths: Array, block_table: Array, state: Planes
    ) -> Array:
        tiles = cut(len(q), query_starts, jnp.zeros_like(lengths))
        last = take(lengths, tiles.request)[:, None] - 1
        whole = tiles._replace(position=jnp.where(tiles.position < 0, -1, last))
        return attend_tiles(q, whole, block_table, state, scale=spec.scale, window=None)

    return state_kernel("jax.cross_attention", run)
