"""Ops on rows and counters: embeddings, gathers, and what a step's causes imply.

Knows nothing of weights' files or kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo_platforms.graph import TensorType, ValueType
from octavo_platforms.ops.op import Attrs, Op, expect, fixed, integer, tensor


def _embedding(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Table [V, E], ids int32 [T] -> [T, E]."""
    table, ids = tensor(types, 0), tensor(types, 1)
    expect(len(table.shape) == 2 and len(ids.shape) == 1, f"cannot look {ids} up in {table}")
    return (TensorType((ids.shape[0], table.shape[1]), table.dtype),)


def _gather_rows(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [A, ...], rows int32 [S] -> [S, ...]."""
    x, rows = tensor(types, 0), tensor(types, 1)
    expect(len(rows.shape) == 1, f"rows have one axis, not {rows}")
    return (TensorType((rows.shape[0], *x.shape[1:]), x.dtype),)


def _scatter_rows(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Buffer [N, ...], rows int32 [U], values [U, ...] -> nothing; buffer[rows] = values."""
    buffer, rows, values = tensor(types, 0), tensor(types, 1), tensor(types, 2)
    expect(values.dtype == buffer.dtype, f"cannot write {values} into {buffer}")
    expect(values.shape == (rows.shape[0], *buffer.shape[1:]), f"{values} is not rows of {buffer}")
    return ()


def _positions(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """token_ids int32 [T], query_starts int32 [R+1], computed int32 [R] -> int32 [T].

    Tokens past the last request's are padding: their position is 0.
    """
    tokens, starts, computed = tensor(types, 0), tensor(types, 1), tensor(types, 2)
    expect(len(starts.shape) == 1 and len(computed.shape) == 1, "starts and computed have one axis")
    return (TensorType((tokens.shape[0],), "int32"),)


def _slots(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Positions int32 [T], query_starts int32 [R+1], block_table int32 [R, M] -> int32 [T].

    Tokens past the last request's are padding: their slot is 0.
    """
    positions, table = tensor(types, 0), tensor(types, 2)
    expect(integer(attrs, "block_size") > 0, "block_size has to be positive")
    expect(len(table.shape) == 2, f"a block table has two axes, not {table}")
    return (TensorType(positions.shape, "int32"),)


def _split(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [..., A+B+...]; sizes (A, B, ...) -> [..., A], [..., B], ..."""
    x = tensor(types, 0)
    sizes = attrs.get("sizes")
    expect(isinstance(sizes, tuple), "'sizes' has to be a tuple of integers")
    assert isinstance(sizes, tuple)
    parts = [part for part in sizes if isinstance(part, int)]
    expect(sum(parts) == fixed(x.shape[-1]), f"sizes {sizes} do not add up to the width of {x}")
    return tuple(TensorType((*x.shape[:-1], part), x.dtype) for part in parts)


def _heads(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [T, H*D]; width D -> [T, H, D], the same elements."""
    x = tensor(types, 0)
    width = integer(attrs, "width")
    expect(len(x.shape) == 2 and fixed(x.shape[1]) % width == 0, f"no heads of {width} in {x}")
    return (TensorType((x.shape[0], fixed(x.shape[1]) // width, width), x.dtype),)


def _flatten(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [T, H, D] -> [T, H*D], the same elements."""
    x = tensor(types, 0)
    expect(len(x.shape) == 3, f"there are no heads to join in {x}")
    return (TensorType((x.shape[0], fixed(x.shape[1]) * fixed(x.shape[2])), x.dtype),)


EMBEDDING = Op(name="embedding", infer=_embedding)
GATHER_ROWS = Op(name="gather_rows", infer=_gather_rows)
SCATTER_ROWS = Op(name="scatter_rows", infer=_scatter_rows, writes=(0,))
POSITIONS = Op(name="positions", infer=_positions)
SLOTS = Op(name="slots", infer=_slots)
SPLIT = Op(name="split", infer=_split)
HEADS = Op(name="heads", infer=_heads)
FLATTEN = Op(name="flatten", infer=_flatten)

OPS = (
    EMBEDDING, GATHER_ROWS, SCATTER_ROWS, POSITIONS, SLOTS, SPLIT, HEADS, FLATTEN,
)  # fmt: skip
