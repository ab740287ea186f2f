"""Shaping logits before the choice: biases, penalties, and cuts by how likely an id is.

A cut is one threshold a row, found by halving the range of float32 bits, in the order of the
numbers they mean: no sort, no sum in sequence, and equal logits stay or go together. A step
without cuts pays for none.

Knows nothing of who asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

import jax.numpy as jnp
from jax import Array, lax

from octavo_jax.ops.rows import take
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec

_HALVINGS = 33
_once = cast(Callable[[Array], Array], lax.optimization_barrier)  # which JAX gives no types
_SIGN = 0x80000000


def bias_logits(logits: Array, ids: Array, values: Array) -> Array:
    """Add values at ids. Shapes: [S, V], [S, B], [S, B]; returns [S, V]."""
    return logits.at[_rows(ids), ids].add(values)


def penalise_logits(
    logits: Array, history: Array, spans: Array, last: Array, penalties: Array
) -> Array:
    """Move the logits of what a context holds.

    Shapes: [S, V], [S, H], [S, 2], [S], [S, 3]; returns [S, V].
    """
    num_known, num_prompt = spans[:, :1], spans[:, 1:]
    places = jnp.broadcast_to(jnp.arange(history.shape[1], dtype=jnp.int32), history.shape)
    is_there = jnp.concatenate([places < num_known, jnp.ones_like(num_known, jnp.bool_)], axis=1)
    places = jnp.concatenate([places, num_known], axis=1)
    context = jnp.concatenate([history, last[:, None]], axis=1)
    rows = _rows(context)
    is_made = is_there & (places >= num_prompt)
    seen = jnp.zeros_like(logits).at[rows, context].add(is_there.astype(jnp.float32))
    counts = jnp.zeros_like(logits).at[rows, context].add(is_made.astype(jnp.float32))
    repetition, presence, frequency = (penalties[:, index : index + 1] for index in range(3))
    repeated = jnp.where(logits > 0, logits / repetition, logits * repetition)
    found = jnp.where(seen > 0, repeated, logits) - counts * frequency
    return found - jnp.where(counts > 0, presence, jnp.float32(0))


def truncate_logits(
    logits: Array, seat_sampling: Array, seats: Array, top_k: Array, cuts: Array
) -> Array:
    """Forbid what is too unlikely. Shapes: [S, V], [N, 3], [S], [S], [S, 2]; returns [S, V]."""
    words = take(seat_sampling, seats)
    temperatures = lax.bitcast_convert_type(words[:, :1], jnp.float32)
    is_cut = (top_k > 0) | (cuts[:, 0] < 1) | (cuts[:, 1] > 0)
    is_cut = is_cut[:, None] & (temperatures > 0)

    def cut() -> Array:
        scores = logits / jnp.where(is_cut, temperatures, jnp.float32(1))
        return jnp.where(_kept(scores, top_k, cuts) | ~is_cut, logits, -jnp.inf)

    found: Array = lax.cond(jnp.any(is_cut), cut, lambda: logits)
    return found


def _kept(scores: Array, top_k: Array, cuts: Array) -> Array:
    # rounded once: XLA would compute them anew wherever they are read, and not always alike
    scores = _once(scores)
    shares = _once(jnp.exp(scores - jnp.max(scores, axis=1, keepdims=True)))
    keys = _ordered(scores)
    top_p, min_p = cuts[:, :1], cuts[:, 1:]
    kept = shares >= min_p * jnp.max(shares, axis=1, keepdims=True)
    most = jnp.where(top_k > 0, top_k, scores.shape[1])[:, None]

    def has_few(key: Array) -> Array:
        return jnp.sum(keys > key, axis=1, keepdims=True, dtype=jnp.int32) < most

    kept &= keys >= _least(keys, has_few)
    left = jnp.where(kept, shares, 0)
    limit = jnp.where(top_p < 1, top_p * jnp.sum(left, axis=1, keepdims=True), jnp.inf)

    def has_little(key: Array) -> Array:
        return jnp.sum(jnp.where(keys > key, left, 0), axis=1, keepdims=True) < limit

    return kept & (keys >= _least(keys, has_little))


def _ordered(scores: Array) -> Array:
    """Give words in the order of the numbers, equal where those are. Shapes: [S, V]; as is."""
    bits = lax.bitcast_convert_type(unsigned_zeros(scores), jnp.uint32)
    sign = jnp.uint32(_SIGN)
    return jnp.where(bits >= sign, ~bits, bits | sign)


def _least(keys: Array, is_enough: Callable[[Array], Array]) -> Array:
    """Give the least key that is enough, by halving; the largest of a row always is.

    Shapes: uint32 [S, V]; returns [S, 1].
    """

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = low + (high - low) // 2
        enough = is_enough(middle)
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

    high = jnp.max(keys, axis=1, keepdims=True)
    found: Array = lax.fori_loop(0, _HALVINGS, halve, (jnp.zeros_like(high), high))[1]
    return found


def unsigned_zeros(scores: Array) -> Array:
    """Replace -0.0 by 0.0, which equal each other; XLA leaves a sum with zero out."""
    return jnp.where(scores == 0, jnp.float32(0), scores)


def _rows(like: Array) -> Array:
    return jnp.arange(like.shape[0], dtype=jnp.int32)[:, None]


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "bias_logits": lambda spec: Kernel(name="jax.bias_logits", run=bias_logits),
        "penalise_logits": lambda spec: Kernel(name="jax.penalise_logits", run=penalise_logits),
        "truncate_logits": lambda spec: Kernel(name="jax.truncate_logits", run=truncate_logits),
    }
)
