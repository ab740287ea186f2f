"""Ops on paged latents: attention whose heads share one narrow row for each position.

    a slot's row   latent [C] | rotary key [Dr]        one plane, of one axis

The latent, already normed, stands for the keys and the values of all heads: head h's are its own
rows of one weight times the latent. The rotary key, already turned, is the same for all heads.
Block 0 and what lies past a context are as in `state`.

Knows nothing of whether a kernel makes keys and values of latents (the expanded form) or brings
queries to them instead (the absorbed form): the weight is an operand, so that it may choose.
Source: arXiv 2405.04434 section 2.1 and appendix C.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo_platforms.graph import TensorType, ValueType
from octavo_platforms.ops.op import (
    Attrs,
    Op,
    expect,
    fixed,
    float_dtype,
    integer,
    real,
    state,
    tensor,
)
from octavo_platforms.ops.state import lengths_of


def _latent_write(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Latent [T, C], key [T, Dr], slots int32 [T], state -> nothing.

    Makes state[slots] the latents with their keys behind them.
    """
    latent, key, slots = (tensor(types, index) for index in range(3))
    state(types, 3)
    expect(len(latent.shape) == len(key.shape) == 2, f"{latent} and {key} have two axes each")
    expect(latent.shape[0] == key.shape[0], f"latents {latent} and keys {key} differ in number")
    expect(latent.dtype == key.dtype, f"latents {latent} and keys {key} differ in dtype")
    expect(slots.shape == latent.shape[:1], f"{slots} is not one slot for each of {latent}")
    return ()


def _latent_read(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Slots int32 [T], state; width, dtype -> rows [T, width]: latent | key."""
    slots = tensor(types, 0)
    state(types, 1)
    dtype = float_dtype(attrs, "dtype")
    return (TensorType((slots.shape[0], integer(attrs, "width")), dtype),)


def _latent_attention(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Attend by plain and rotary queries over latents.

    q [T, H, Dn], q_rope [T, H, Dr], weight [H*(Dn+Dv), C], query_starts int32 [R+1],
    computed int32 [R], block_table int32 [R, M], state -> [T, H, Dv].

    Head h has the weight's rows from h * (Dn+Dv) on: Dn that make its key of a latent, then Dv
    that make its value. Its score of a position is scale * (q . key + q_rope . rotary key). Who
    attends to what, and the attribute `lengths`, are as in `attention`.
    """
    q, rope, weight, table = (tensor(types, index) for index in (0, 1, 2, 5))
    state(types, 6)
    real(attrs, "scale")
    lengths_of(attrs)
    expect(len(q.shape) == len(rope.shape) == 3, f"queries have three axes, not {q} and {rope}")
    expect(q.shape[:2] == rope.shape[:2], f"plain queries {q} and rotary ones {rope} differ")
    expect(len({q.dtype, rope.dtype, weight.dtype}) == 1, f"{q}, {rope}, {weight}: several dtypes")
    expect(len(weight.shape) == 2, f"a weight has two axes, not {weight}")
    expect(len(table.shape) == 2, f"a block table has two axes, not {table}")
    return (TensorType((*q.shape[:2], value_width(q, weight)), q.dtype),)


def value_width(q: TensorType, weight: TensorType) -> int:
    """Give the width of a value, from the types of plain queries and the weight.

    Raises: ShapeError, where the heads cannot share the weight's rows.
    """
    heads, rows = fixed(q.shape[1]), fixed(weight.shape[0])
    width = rows // heads - fixed(q.shape[2])
    expect(rows % heads == 0 and width > 0, f"the rows of {weight} are no keys and values for {q}")
    return width


LATENT_WRITE = Op(name="latent_write", infer=_latent_write, hook="bind_latent_rows", writes=(3,))
LATENT_READ = Op(name="latent_read", infer=_latent_read, hook="bind_latent_rows")
LATENT_ATTENTION = Op(
    name="latent_attention", infer=_latent_attention, hook="bind_latent_attention"
)

OPS = (LATENT_WRITE, LATENT_READ, LATENT_ATTENTION)
