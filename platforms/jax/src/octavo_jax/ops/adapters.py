"""Adapters: what each request's own low-rank weights add to a linear layer.

Tokens are cut into tiles of one request each, as attention does; a tile reads one slot.

Knows nothing of which layers are adapted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax.numpy as jnp
from jax import Array, lax

from octavo_jax.ops.attention import cut
from octavo_jax.ops.dense import linear
from octavo_jax.ops.rows import request_of, take
from octavo_platforms.ops.op import integer
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec


def _lora_delta(spec: OpSpec) -> Kernel:
    first = integer(dict(spec.attrs), "first")

    def run(y: Array, x: Array, a: Array, b: Array, slots: Array, query_starts: Array) -> Array:
        tiles = cut(len(x), query_starts, jnp.zeros_like(slots))

        def one(tile: tuple[Array, Array]) -> Array:
            slot, rows = tile
            narrow = linear(take(x, rows).astype(jnp.float32), take(a, slot).astype(jnp.float32))
            return linear(narrow, take(b, slot).astype(jnp.float32))

        found = lax.map(one, (take(slots, tiles.request), tiles.token))
        added = found.at[tiles.tile, tiles.place].get(mode="clip")
        columns = slice(first, first + b.shape[1])
        total = (y[:, columns].astype(jnp.float32) + added).astype(y.dtype)
        own = take(slots, request_of(jnp.arange(len(x), dtype=jnp.int32), query_starts))
        return y.at[:, columns].set(jnp.where(own[:, None] == 0, y[:, columns], total))

    return Kernel(name="jax.lora_delta", run=run)


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType({"lora_delta": _lora_delta})
