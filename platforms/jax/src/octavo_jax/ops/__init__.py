"""Every primitive of the catalogue as a traceable function of JAX arrays.

No compound is claimed: XLA fuses the primitives of an entry itself. A family's file has a table
from an op's name to the maker of its kernel.

Knows nothing of programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from octavo_jax.ops import (
    adapters,
    choice,
    dense,
    encoder,
    experts,
    mixed,
    recurrent,
    rope,
    rows,
    scores,
    seats,
    shaping,
)
from octavo_platforms.graph import TensorType
from octavo_platforms.platform import Kernel, Unsupported
from octavo_platforms.specs import LinearSpec, OpSpec

MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        **rows.MAKERS,
        **dense.MAKERS,
        **rope.MAKERS,
        **choice.MAKERS,
        **scores.MAKERS,
        **shaping.MAKERS,
        **seats.MAKERS,
        **experts.MAKERS,
        **encoder.MAKERS,
        **mixed.MAKERS,
        **recurrent.MAKERS,
        **adapters.MAKERS,
    }
)
COMPOUNDS = frozenset({"add_rms_norm", "silu_gate"})
WIDE = frozenset({"float64", "int64", "uint64"})


def bind_op(spec: OpSpec) -> Kernel | Unsupported | None:
    """Give a primitive's kernel."""
    if spec.op in COMPOUNDS:
        return Unsupported("XLA fuses the primitives itself")
    if spec.op not in MAKERS:
        return None
    for found in (*spec.inputs, *spec.outputs):
        if isinstance(found, TensorType) and found.dtype in WIDE:
            return Unsupported(f"{found.dtype} is narrowed by JAX; use a dtype of 32 bits or less")
    return MAKERS[spec.op](spec)


def bind_linear(spec: LinearSpec) -> Kernel | Unsupported:
    """Give a linear layer."""
    if spec.weight_dtype != spec.dtype or spec.dtype in WIDE:
        return Unsupported(f"rows of {spec.dtype} with a weight of {spec.weight_dtype}")
    if spec.shared:
        return Kernel(name="jax.linear", run=dense.linear)
    return Kernel(name="jax.packed_linear", run=partial(dense.linear, axis=0), pack=dense.packed)
