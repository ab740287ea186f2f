"""Recurrent states: their rows, the convolution over a request's last tokens, and copies.

Every token gathers what it needs, from its own request or from the row that this started from.

Knows nothing of scans (`scans`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax import Array

from octavo_jax.ops.rows import request_of, take
from octavo_jax.states import in_order
from octavo_platforms.ops.op import real
from octavo_platforms.platform import Kernel, StateKernel
from octavo_platforms.specs import CopySpec, MixerSpec, OpSpec

Planes = tuple[Array, ...]


def ring_rows(query_starts: Array, computed: Array, state_rows: Array) -> tuple[Array, Array]:
    """Find the row to start from and those to end in. Shapes: [R+1], [R], [R, W]; [R], [R, W]."""
    width = state_rows.shape[1]
    before = jnp.take_along_axis(state_rows, (computed - 1)[:, None] % width, axis=1)[:, 0]
    ends = jnp.diff(query_starts)[:, None] + jnp.arange(-width, 0, dtype=jnp.int32)
    after = jnp.take_along_axis(state_rows, (computed[:, None] + ends) % width, axis=1)
    return jnp.where(computed > 0, before, 0), jnp.where(ends >= 0, after, 0)


def causal_conv(spec: MixerSpec) -> StateKernel:
    """Make a weighted sum of each channel's last values."""
    place = spec.state.place_of(spec.plane)

    def run(x: Array, weight: Array, starts: Array, *given: object) -> tuple[Array, Planes]:
        source, targets, state, *bias = given
        assert isinstance(source, Array)
        assert isinstance(targets, Array)
        planes = planes_of(state)
        past = starting(planes[place], source).astype(x.dtype)
        tokens = jnp.arange(len(x), dtype=jnp.int32)
        owners = request_of(tokens, starts)
        taps = jnp.arange(1 - weight.shape[1], 1, dtype=jnp.int32)
        seen = _before(x, past, starts, owners[:, None], tokens[:, None] + taps)
        made = jnp.sum(seen.astype(jnp.float32) * weight.T.astype(jnp.float32), axis=1)
        for each in bias:
            assert isinstance(each, Array)
            made += each.astype(jnp.float32)
        kept = _kept(x, past, starts, targets, planes[place])
        return made.astype(x.dtype), replaced(planes, place, kept)

    return in_order(spec.state, Kernel(name="jax.causal_conv", run=run))


def _kept(x: Array, past: Array, starts: Array, targets: Array, plane: Array) -> Array:
    """Give the plane with each request's last values behind each of its last tokens."""
    num_requests, width = targets.shape
    depth = past.shape[1]
    ends = starts[1:, None] + jnp.arange(-width, 0, dtype=jnp.int32)
    back = jnp.arange(1 - depth, 1, dtype=jnp.int32)
    owners = jnp.arange(num_requests, dtype=jnp.int32)[:, None, None]
    made = _before(x, past, starts, owners, ends[:, :, None] + back)
    rows = jnp.where(ends >= starts[:-1, None], targets, 0)
    return plane.at[rows].set(made.astype(plane.dtype))


def _before(x: Array, past: Array, starts: Array, owners: Array, at: Array) -> Array:
    """Give rows of x, and for places before their owner's first token what it had there.

    Shapes: x [T, C]; past [R, K-1, C]; owners and at broadcast to [...]; returns [..., C].
    """
    ago = at - take(starts[:-1], owners)
    old = past.at[owners, past.shape[1] + ago].get(mode="clip")
    return jnp.where((ago >= 0)[..., None], x.at[at].get(mode="clip"), old)


def starting(plane: Array, source: Array) -> Array:
    """Give the states that requests start from, zeros for row 0."""
    is_new = (source == 0).reshape(-1, *(1 for _ in plane.shape[1:]))
    return jnp.where(is_new, 0, take(plane, source))


def state_copy(spec: CopySpec) -> StateKernel:
    """Make blocks or rows what others are."""

    def run(sources: Array, targets: Array, state: Planes) -> tuple[Planes]:
        return (tuple(plane.at[targets].set(take(plane, sources)) for plane in state),)

    return in_order(spec.state, Kernel(name="jax.state_copy", run=run))


def replaced(planes: Planes, place: int, plane: Array) -> Planes:
    """Give a state with one plane exchanged."""
    return (*planes[:place], plane, *planes[place + 1 :])


def planes_of(state: object) -> Planes:
    """See a state as what it is here."""
    assert isinstance(state, tuple)
    return state


def _time_steps(spec: OpSpec) -> Kernel:
    attrs = dict(spec.attrs)
    low = real(attrs, "low")
    high = None if attrs["high"] is None else real(attrs, "high")

    def run(x: Array, bias: Array) -> Array:
        steps = jax.nn.softplus(x.astype(jnp.float32) + bias.astype(jnp.float32))
        return jnp.clip(steps, low, high)

    return Kernel(name="jax.time_steps", run=run)


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "ring_rows": lambda spec: Kernel(name="jax.ring_rows", run=ring_rows),
        "time_steps": _time_steps,
    }
)
