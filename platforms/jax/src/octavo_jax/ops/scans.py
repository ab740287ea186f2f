"""Scans: states that decay, are fed, and are read, token after token, in float32.

    requests   a a a   b   c c          tokens of three requests
    at once    [a b c]                  the first token of each
    then       [a] [a] [c]              one after the other, as many as there are

So a step of one token a request, which is what most steps are, has no loop, and a prompt costs
no more than its tokens. What can be made of all tokens at once is.

Knows nothing of rings. Source: arXiv 2312.00752, 2405.21060, 2412.06464.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from octavo_jax.ops.recurrent import Planes, causal_conv, planes_of, replaced, starting
from octavo_jax.ops.rows import request_of, take
from octavo_jax.states import in_order
from octavo_platforms.ops.op import real
from octavo_platforms.platform import Kernel, StateKernel
from octavo_platforms.specs import MixerSpec

Turn = Callable[..., tuple[Array, Array]]
"""Takes states [B, ...] and arrays of their next tokens; gives new states and results [B, ...]."""


class Rows(NamedTuple):
    """Whose each token is, the rows that requests start from, and those that they end in.

    Shapes: starts [R+1]; source [R]; targets [R, W]; plane [B, ...].
    """

    starts: Array
    source: Array
    targets: Array
    plane: Array


Mix = Callable[[Sequence[Array], Rows], tuple[Array, Array]]


def bind_state_mixer(spec: MixerSpec) -> StateKernel | None:
    """Give the kernel of a mixer, None for one that is not known here."""
    match spec.op:
        case "causal_conv":
            return causal_conv(spec)
        case "selective_scan":
            return _kernel(spec, selective_scan)
        case "gated_delta":
            scale = real(dict(spec.attrs), "scale")
            eps = None if spec.attr("eps") is None else real(dict(spec.attrs), "eps")
            return _kernel(spec, partial(gated_delta, scale=scale, eps=eps))
    return None


def selective_scan(operands: Sequence[Array], rows: Rows) -> tuple[Array, Array]:
    """Decay a state, feed it with an outer product, read it; gives the plane anew as well."""
    x, dt, a_log, b, c, d = operands
    heads, wide = x.shape[1], x.astype(jnp.float32)
    rate = -jnp.exp(a_log.astype(jnp.float32)).reshape(heads, 1, -1)
    feed, read = (_for_heads(each, heads) for each in (b, c))
    made, plane = _walk(partial(_scan, rate), rows, wide, wide, dt, feed, read)
    return (made + wide * d.astype(jnp.float32)[:, None]).astype(x.dtype), plane


def gated_delta(
    operands: Sequence[Array], rows: Rows, *, scale: float, eps: float | None
) -> tuple[Array, Array]:
    """Decay a memory, correct what it gets wrong, read it; gives the plane anew as well."""
    q, k, v, dt, a_log, beta = operands
    wide = v.astype(jnp.float32)
    query, key = (_unit(_for_heads(each, v.shape[1]), eps) for each in (q, k))
    kept = jnp.exp(-jnp.exp(a_log.astype(jnp.float32)) * dt)
    given = (query * scale, key, wide, kept, beta.astype(jnp.float32))
    made, plane = _walk(_delta, rows, wide, *given)
    return made.astype(v.dtype), plane


def _scan(
    rate: Array, state: Array, x: Array, dt: Array, feed: Array, read: Array
) -> tuple[Array, Array]:
    """Take a turn. Shapes: rate [H, 1, 1 or N]; state [B, H, D, N]; read [B, H, N]."""
    step = dt[:, :, None]
    fed = (step * x)[..., None] * feed[:, :, None, :]
    after = jnp.exp(step[..., None] * rate) * state + fed
    return after, jnp.sum(after * read[:, :, None, :], axis=-1)


def _delta(
    state: Array, query: Array, key: Array, v: Array, kept: Array, beta: Array
) -> tuple[Array, Array]:
    """Take a turn. Shapes: state [B, H, Dk, Dv]; query and key [B, H, Dk]; kept, beta [B, H]."""
    decayed = state * kept[:, :, None, None]
    known = jnp.sum(decayed * key[..., None], axis=2)
    after = decayed + key[..., None] * ((v - known) * beta[..., None])[:, :, None, :]
    return after, jnp.sum(after * query[..., None], axis=2)


def _kernel(spec: MixerSpec, mix: Mix) -> StateKernel:
    """Make a kernel: of what it is given the last are starts, source, targets and the state."""
    place = spec.state.place_of(spec.plane)

    def run(*given: object) -> tuple[Array, Planes]:
        *operands, starts, source, targets = (_array(each) for each in given[:-1])
        planes = planes_of(given[-1])
        made, plane = mix(operands, Rows(starts, source, targets, planes[place]))
        return made, replaced(planes, place, plane)

    return in_order(spec.state, Kernel(name=f"jax.{spec.op}", run=run))


def _walk(turn: Turn, rows: Rows, like: Array, *operands: Array) -> tuple[Array, Array]:
    """Carry states over a step's tokens. Shapes: like and each operand [T, ...]; gives as like."""
    starts, num_tokens = rows.starts, len(like)
    lengths, width = jnp.diff(starts), rows.targets.shape[1]
    tokens = jnp.arange(num_tokens, dtype=jnp.int32)
    owners = request_of(tokens, starts)
    within = tokens - take(starts[:-1], owners)
    places = width - take(lengths, owners) + within
    is_kept = (tokens < starts[-1]) & (places >= 0)
    row_of = jnp.where(is_kept, rows.targets.at[owners, places].get(mode="clip"), 0)
    first = jnp.where(lengths > 0, starts[:-1], num_tokens)
    before = starting(rows.plane, rows.source).astype(jnp.float32)
    states, found = turn(before, *(take(each, first) for each in operands))
    made = jnp.zeros_like(like).at[first].set(found, mode="drop")
    ends = jnp.where(lengths > 0, take(row_of, first), 0)
    plane = rows.plane.at[ends].set(states.astype(rows.plane.dtype))
    is_later = (tokens < starts[-1]) & (within > 0)
    (later,) = jnp.nonzero(is_later, size=num_tokens, fill_value=0)

    def after(index: Array, carried: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        state, made, plane = carried
        token = later[index]
        state = jnp.where(within[token] == 1, states[owners[token]][None], state)
        state, found = turn(state, *(each[token][None] for each in operands))
        kept = state[0].astype(plane.dtype)
        return state, made.at[token].set(found[0]), plane.at[row_of[token]].set(kept)

    _, made, plane = lax.fori_loop(0, jnp.sum(is_later), after, (states[:1], made, plane))
    return made, plane


def _for_heads(x: Array, heads: int) -> Array:
    """Give each head its group's row, in float32. Shapes: [T, G, N]; returns [T, H, N]."""
    return jnp.repeat(x.astype(jnp.float32), heads // x.shape[1], axis=1)


def _unit(x: Array, eps: float | None) -> Array:
    if eps is None:
        return x
    return x * lax.rsqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + eps)


def _array(value: object) -> Array:
    assert isinstance(value, Array)
    return value
