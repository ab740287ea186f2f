"""Choosing tokens: the largest logit, or the largest after noise.

A step in which every row is greedy pays for no noise.

Knows nothing of requests: a row's token follows from its logits, seat and position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax.numpy as jnp
from jax import Array, lax

from octavo_jax.ops.philox import gumbel
from octavo_jax.ops.rows import take
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec


def sample(logits: Array, seat_sampling: Array, seats: Array, positions: Array) -> Array:
    """Choose a token for each row. Shapes: [S, V], uint32 [N, 3], [S], [S]; returns int32 [S]."""
    settings = take(seat_sampling, seats)
    temperatures = lax.bitcast_convert_type(settings[:, :1], jnp.float32)
    is_hot = temperatures > 0
    wide = logits.astype(jnp.float32)

    def noisy() -> Array:
        scores = wide / jnp.where(is_hot, temperatures, jnp.float32(1))
        scores = scores + gumbel(settings[:, 1:], positions + 1, wide.shape[1])
        return jnp.where(is_hot, scores, wide)

    scores = lax.cond(jnp.any(is_hot), noisy, lambda: wide)
    found = jnp.argmax(scores, axis=-1)
    top = jnp.take_along_axis(scores, found[:, None], axis=1)[:, 0]
    return jnp.where(jnp.isfinite(top), found, -1).astype(jnp.int32)


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {"sample": lambda spec: Kernel(name="jax.sample", run=sample)}
)
