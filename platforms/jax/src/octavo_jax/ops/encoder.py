"""Encoders: attention both ways within a request, and the mean of its rows.

Attention is that over blocks, with blocks of one slot: the rows of a request are its context,
and each of its tokens stands at the last one that it sees.

Knows nothing of states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax import Array

from octavo_jax.ops.attention import attend_tiles, cut
from octavo_jax.ops.rows import owner_of, take
from octavo_platforms.ops.encoder import reach_of
from octavo_platforms.ops.op import real
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec


def _encoder_attention(spec: OpSpec) -> Kernel:
    attrs = dict(spec.attrs)
    scale, (before, after) = real(attrs, "scale"), reach_of(attrs)

    def run(q: Array, k: Array, v: Array, query_starts: Array) -> Array:
        lengths, rows = jnp.diff(query_starts), jnp.arange(len(q), dtype=jnp.int32)
        tiles = cut(len(q), query_starts, jnp.zeros_like(lengths))
        last = take(lengths, tiles.request)[:, None] - 1
        own = tiles.position
        upto = last if after is None else jnp.minimum(own + after, last)
        first = None if before is None else jnp.maximum(own - before, 0)
        whole = tiles._replace(position=jnp.where(own < 0, -1, upto))
        table = query_starts[:-1, None] + rows
        planes = (k[:, None], v[:, None])
        return attend_tiles(q, whole, table, planes, scale=scale, window=None, first=first)

    return Kernel(name="jax.encoder_attention", run=run)


def mean_rows(x: Array, query_starts: Array) -> Array:
    """Give each request's mean. Shapes: x [T, E]; query_starts [R+1]; returns [R, E]."""
    owners = owner_of(jnp.arange(len(x), dtype=jnp.int32), query_starts)
    counts = jnp.diff(query_starts)
    sums = jax.ops.segment_sum(x.astype(jnp.float32), owners, len(counts) + 1)[:-1]
    return (sums / jnp.maximum(counts, 1)[:, None]).astype(x.dtype)


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "encoder_attention": _encoder_attention,
        "mean_rows": lambda spec: Kernel(name="jax.mean_rows", run=mean_rows),
    }
)
