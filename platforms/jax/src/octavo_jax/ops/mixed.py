"""Rows among token embeddings, and rotary positions on several axes.

Knows nothing of images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax.numpy as jnp
import numpy as np
from jax import Array

from octavo_jax.ops.rope import table_of
from octavo_jax.ops.rows import take
from octavo_platforms.ops.mixed import sections_of
from octavo_platforms.ops.op import real
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec


def mix_rows(x: Array, source: Array, kept: Array) -> Array:
    """Take kept rows where a source names one. Shapes: [T, E], [T], [N, E]; returns [T, E]."""
    return jnp.where((source > 0)[:, None], take(kept, source), x)


def _rope_sections(spec: OpSpec) -> Kernel:
    attrs = dict(spec.attrs)
    factor, sections = real(attrs, "factor"), np.array(sections_of(attrs), np.int32)

    def run(positions: Array, offsets: Array, frequencies: Array) -> Array:
        places = take(positions + offsets, jnp.asarray(sections)).T.astype(jnp.float32)
        return table_of(places * jnp.asarray(frequencies, jnp.float32), factor=factor)

    return Kernel(name="jax.rope_sections", run=run)


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "mix_rows": lambda spec: Kernel(name="jax.mix_rows", run=mix_rows),
        "rope_sections": _rope_sections,
    }
)
