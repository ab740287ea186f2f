"""Rotary positions: a table of angles, and turning pairs of features by it.

Knows nothing of heads' meaning: queries and keys turn alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import jax.numpy as jnp
from jax import Array, lax

from octavo_platforms.ops.op import real
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec


def rope_table(positions: Array, frequencies: Array, *, factor: float) -> Array:
    """Give cosines, then sines, of each position's angles, times a factor.

    Shapes: positions [T]; frequencies [D/2]; returns float32 [T, D].
    """
    angles = positions.astype(jnp.float32)[:, None] * jnp.asarray(frequencies, jnp.float32)
    return table_of(angles, factor=factor)


def table_of(angles: Array, *, factor: float) -> Array:
    """Give cosines, then sines, times a factor. Shapes: angles [T, D/2]; returns [T, D]."""
    table = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    scaled = table if factor == 1.0 else table * jnp.float32(factor)
    return _kept(scaled)


def rotary(x: Array, table: Array, *, interleaved: bool) -> Array:
    """Turn the first D' features of each head, pair by pair; the rest stays.

    Shapes: x [T, H, D]; table float32 [T, D'], D' <= D; returns [T, H, D].
    Dtypes: computes in float32 and rounds once.
    Source: arXiv 2104.09864. Half-split pairs i with i + D'/2, interleaved 2i with 2i + 1.
    """
    width = table.shape[-1]
    cosine, sine = (part[:, None, :] for part in jnp.split(table, 2, axis=-1))
    wide = x[..., :width].astype(jnp.float32)
    if interleaved:
        first, second = wide[..., 0::2], wide[..., 1::2]
    else:
        first, second = wide[..., : width // 2], wide[..., width // 2 :]
    pair = (first * cosine - second * sine, second * cosine + first * sine)
    if interleaved:
        turned = jnp.stack(pair, axis=-1).reshape(wide.shape)
    else:
        turned = jnp.concatenate(pair, axis=-1)
    return jnp.concatenate([turned.astype(x.dtype), x[..., width:]], axis=-1)


def _kept(table: Array) -> Array:
    """Keep XLA from computing a table anew in the fusions of each layer."""
    made: Array = lax.optimization_barrier(table)  # type: ignore[no-untyped-call]
    return made


def _rope_table(spec: OpSpec) -> Kernel:
    factor = real(dict(spec.attrs), "factor")
    return Kernel(name="jax.rope_table", run=partial(rope_table, factor=factor))


def _rotary(spec: OpSpec) -> Kernel:
    interleaved = bool(spec.attr("interleaved"))
    return Kernel(name="jax.rotary", run=partial(rotary, interleaved=interleaved))


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {"rope_table": _rope_table, "rotary": _rotary}
)
