"""Logits beside the choice: forbidding tokens, and telling how likely some were.

Knows nothing of who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax import Array, lax

from octavo_jax.ops.shaping import unsigned_zeros
from octavo_platforms.ops.op import integer
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec

WORD_BITS = 32


def mask_logits(logits: Array, mask: Array) -> Array:
    """Forbid ids whose bit is not set. Shapes: [S, V], uint32 [S, ceil(V/32)]; returns [S, V]."""
    bits = jnp.arange(WORD_BITS, dtype=jnp.uint32)
    is_set = (mask[:, :, None] >> bits & 1).reshape(len(mask), -1)[:, : logits.shape[1]]
    return jnp.where(is_set == 1, logits, jnp.array(-jnp.inf, logits.dtype))


def score(logits: Array, ids: Array) -> tuple[Array, Array]:
    """Tell how likely ids are. Shapes: [Q, V], [Q]; returns logprob [Q], rank [Q]."""
    wide = logits.astype(jnp.float32)
    own = jnp.take_along_axis(wide, ids[:, None], axis=1)
    logprob = own[:, 0] - jax.nn.logsumexp(wide, axis=1)
    return logprob, jnp.sum(wide > own, axis=1, dtype=jnp.int32)


def most_likely(logits: Array, *, count: int) -> tuple[Array, Array]:
    """Find the likeliest ids, of equal ones the lowest. Shapes: [S, V]; returns [S, L] twice."""
    wide = unsigned_zeros(logits.astype(jnp.float32))
    largest, ids = lax.top_k(wide, count)
    return ids.astype(jnp.int32), largest - jax.nn.logsumexp(wide, axis=1, keepdims=True)


def _most_likely(spec: OpSpec) -> Kernel:
    count = integer(dict(spec.attrs), "count")
    return Kernel(name="jax.most_likely", run=partial(most_likely, count=count))


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "mask_logits": lambda spec: Kernel(name="jax.mask_logits", run=mask_logits),
        "score": lambda spec: Kernel(name="jax.score", run=score),
        "most_likely": _most_likely,
    }
)
