"""Attention over latents in the absorbed form, and writing them, by slot.

Queries are multiplied by the keys' part of the weight, and the mixture of latents that comes out
by the values' part. Between the two it is attention with one KV head, whose rows are keys and
values both.

Knows nothing of how a mixture over rows is made (`attention`).
Source: arXiv 2405.04434 section 2.1.2.
"""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from jax import Array, lax

from octavo_jax.ops.attention import attention
from octavo_jax.ops.rows import take
from octavo_jax.ops.state import written
from octavo_jax.states import ROWS, Planes, by_slot, state_kernel
from octavo_platforms.platform import StateKernel
from octavo_platforms.specs import LatentAttentionSpec, LatentRowsSpec


def bind_latent_attention(spec: LatentAttentionSpec) -> StateKernel:
    """Give attention over latents at one spec."""
    return state_kernel("jax.latent_attention", partial(latent_attention, spec), ROWS)


def bind_latent_rows(spec: LatentRowsSpec) -> StateKernel:
    """Give the write or the read."""
    run = latent_write if spec.op == "latent_write" else latent_read
    return state_kernel(f"jax.{spec.op}", run, ROWS)


def latent_attention(
    spec: LatentAttentionSpec,
    q: Array,
    rope: Array,
    weight: Array,
    *paged: *tuple[Array, Array, Array, Planes],
) -> Array:
    """Attend each new token to its own request's past and to itself.

    Shapes: q [T, H, Dn]; rope [T, H, Dr]; weight [H*(Dn+Dv), C]; paged: query_starts [R+1],
        computed [R], block_table [R, M], and the state's plane [B, P, C+Dr]; returns
        [T, H, Dv], zeros for padding.
    Dtypes: as q; products are summed in float32.
    """
    query_starts, computed, block_table, (plane,) = paged
    by_head = weight.reshape(spec.num_heads, -1, spec.latent_width)
    of_keys, of_values = jnp.split(by_head, [spec.plain_width], axis=1)
    absorbed = _product("htn,hnc->htc", q, of_keys)
    mixed = attention(
        jnp.concatenate([absorbed, rope], axis=-1),
        query_starts,
        computed,
        block_table,
        (plane[:, :, None],),
        scale=spec.scale,
    )
    return _product("htc,hvc->htv", mixed[..., : spec.latent_width], of_values)


def latent_write(latent: Array, key: Array, slots: Array, state: Planes) -> tuple[Planes]:
    """Store latents with their keys. Shapes: [T, C], [T, Dr], [T]; gives the new plane."""
    (plane,) = state
    return ((written(plane, slots, jnp.concatenate([latent, key], axis=-1)),),)


def latent_read(slots: Array, state: Planes) -> Array:
    """Give back what slots hold. Shapes: slots [T]; returns [T, C+Dr]."""
    (plane,) = state
    return take(by_slot(plane), slots)


def _product(formula: str, x: Array, weight: Array) -> Array:
    found = jnp.einsum(
        formula,
        x.swapaxes(0, 1),
        weight,
        precision=lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )
    return found.astype(x.dtype).swapaxes(0, 1)
