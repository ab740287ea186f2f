"""Mixtures of experts: routing, grouping rows, a product for each group, and the sum.

Grouped rows are cut into tiles of one expert each, as attention cuts tokens into tiles of one
request: how many there can be follows from the shapes, and a tile reads one expert's weight.
XLA's own `ragged_dot` is not used: where it is not a kernel, it adds up masked products of all
experts, and one not-a-number spoils every row.

Knows nothing of which layers have experts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax import Array, lax

from octavo_jax.ops.attention import cut
from octavo_jax.ops.dense import linear
from octavo_jax.ops.rows import take
from octavo_platforms.ops.experts import Routing, routing_of
from octavo_platforms.ops.op import integer
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec


def _route(spec: OpSpec) -> Kernel:
    routing = routing_of(dict(spec.attrs))

    def run(logits: Array, *biases: Array) -> tuple[Array, Array]:
        wide = logits.astype(jnp.float32)
        if routing.score == "near":
            ids, found = _nearest(wide, routing)
            return ids.astype(jnp.int32), (found * routing.factor).astype(logits.dtype)
        is_softmax = routing.score == "softmax"
        shares = jax.nn.softmax(wide, axis=-1) if is_softmax else jax.nn.sigmoid(wide)
        # Without a bias logits choose: shares that lie close together may round to the same.
        by = shares + biases[0].astype(jnp.float32) if biases else wide
        if routing.groups > 1:
            by = _in_best_groups(by, by if biases else shares, routing)
        # `top_k` orders zeros by their sign; of equal logits the lowest id has to be first.
        _, ids = lax.top_k(jnp.where(by == 0, 0, by), routing.top_k)
        if routing.renormalise and is_softmax:
            found = jax.nn.softmax(jnp.take_along_axis(wide, ids, -1), axis=-1)
        else:
            found = jnp.take_along_axis(shares, ids, -1)
            if routing.renormalise:
                found = found / jnp.sum(found, axis=-1, keepdims=True)
        return ids.astype(jnp.int32), (found * routing.factor).astype(logits.dtype)

    return Kernel(name="jax.route", run=run)


def _nearest(logits: Array, routing: Routing) -> tuple[Array, Array]:
    """Choose the best of what is left, by its share of those near it. Shapes: [T, X]; [T, k] twice.

    Source: arXiv 2409.12136; as it is run, without the noise it is trained with.
    """
    best, ids = lax.top_k(jnp.where(logits == 0, 0, logits), routing.top_k)
    left, shares, every = logits, [], jnp.arange(logits.shape[-1])
    for choice in range(routing.top_k):
        own, chosen = best[:, choice, None], ids[:, choice, None]
        is_near = own - left <= routing.nearness * jnp.maximum(own, jnp.abs(left))
        near = jnp.where(is_near & jnp.isfinite(left), left, -jnp.inf)
        shares.append(jnp.take_along_axis(jax.nn.softmax(near, axis=-1), chosen, -1))
        left = jnp.where(every == chosen, -jnp.inf, left)
    return ids, jnp.concatenate(shares, axis=-1)


def _in_best_groups(by: Array, shares: Array, routing: Routing) -> Array:
    """Close the groups that are not among the best. Shapes: [T, X], [T, X]; returns [T, X]."""
    grouped = by.reshape(len(by), routing.groups, -1)
    if routing.group_score == "best":
        scores = jnp.max(grouped, axis=-1)
    else:
        scores = jnp.sum(lax.top_k(shares.reshape(grouped.shape), 2)[0], axis=-1)
    _, best = lax.top_k(jnp.where(scores == 0, 0, scores), routing.top_groups)
    is_open = jnp.any(best[..., None] == jnp.arange(routing.groups), axis=1)
    return jnp.where(is_open[..., None], grouped, -jnp.inf).reshape(by.shape)


def _group_rows(spec: OpSpec) -> Kernel:
    num_experts = integer(dict(spec.attrs), "num_experts")

    def run(ids: Array, query_starts: Array) -> tuple[Array, Array, Array]:
        num_tokens, top_k = ids.shape
        is_padding = jnp.arange(num_tokens, dtype=jnp.int32) >= query_starts[-1]
        experts = jnp.where(is_padding[:, None], num_experts, ids).reshape(-1)
        order = jnp.argsort(experts, stable=True).astype(jnp.int32)
        pairs = jnp.arange(len(order), dtype=jnp.int32)
        places = jnp.zeros_like(pairs).at[order].set(pairs).reshape(ids.shape)
        every = jnp.arange(num_experts, dtype=jnp.int32)
        counts = jnp.sum(experts[:, None] == every, axis=0, dtype=jnp.int32)
        return order // top_k, places, counts

    return Kernel(name="jax.group_rows", run=run)


def grouped_linear(x: Array, weights: Array, counts: Array, *biases: Array) -> Array:
    """Multiply each run of rows by its own weight, and add its bias.

    Shapes: x [A, I]; weights [X, O, I]; counts [X]; bias, where there is one, [X, O]; [A, O].
    """
    starts = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(counts, dtype=jnp.int32)])
    tiles = cut(len(x), starts, jnp.zeros_like(counts))

    def one(tile: tuple[Array, Array]) -> Array:
        expert, rows = tile
        own = (take(each, expert) for each in (weights, *biases))
        return linear(take(x, rows), *own)

    found: Array = lax.map(one, (tiles.request, tiles.token))
    made: Array = found.at[tiles.tile, tiles.place].get(mode="clip")
    return made


def combine(y: Array, places: Array, weights: Array) -> Array:
    """Sum each token's rows by weight. Shapes: y [kT, E]; places, weights [T, k]; [T, E]."""
    own = take(y, places).astype(jnp.float32)
    shares = weights.astype(jnp.float32)[..., None]
    return jnp.sum(jnp.where(shares == 0, 0, own * shares), axis=1).astype(y.dtype)


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "route": _route,
        "group_rows": _group_rows,
        "grouped_linear": lambda spec: Kernel(name="jax.grouped_linear", run=grouped_linear),
        "combine": lambda spec: Kernel(name="jax.combine", run=combine),
    }
)
