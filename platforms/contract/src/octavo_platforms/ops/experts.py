"""Ops of mixtures of experts: choose, group rows by expert, multiply each group, combine.

    logits ─route─> ids, weights        every token has k experts
    ids ─group_rows─> rows, places, counts
    x ─gather_rows(rows)─> [kT, E] ─grouped_linear(counts)─> ... ─combine(places, weights)─> [T, E]

How many rows an expert gets depends on data and no shape does: there is always room for k
rows a token, and counts say which expert each run of rows belongs to. Rows of padding stand
after all others and are counted by nobody.

Knows nothing of how a kernel splits its work.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo_platforms.graph import Dim, Size, TensorType, ValueType
from octavo_platforms.ops.op import Attrs, Op, expect, fixed, integer, tensor


def _route(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Logits [T, X]; top_k, renormalise -> ids int32 [T, k], weights [T, k].

    The k largest logits, the largest first and of equal ones the lowest id; their shares of the
    softmax over all experts, in float32, or over the chosen ones where `renormalise` says so.
    """
    logits, count = tensor(types, 0), integer(attrs, "top_k")
    expect(len(logits.shape) == 2, f"logits have two axes, not {logits}")
    expect(0 < count <= fixed(logits.shape[1]), f"cannot choose {count} experts by {logits}")
    expect(isinstance(attrs.get("renormalise"), bool), "'renormalise' has to be true or false")
    shape = (logits.shape[0], count)
    return TensorType(shape, "int32"), TensorType(shape, logits.dtype)


def _group_rows(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Ids int32 [T, k], query_starts int32 [R+1]; num_experts X -> rows, places, counts.

    Sorts the pairs of a token and an expert by expert, then by token; those of padding come
    last. `rows` int32 [kT] is each pair's token, `places` int32 [T, k] where each token's pairs
    went, `counts` int32 [X] how many pairs each expert has.
    """
    ids = tensor(types, 0)
    tensor(types, 1)
    expect(len(ids.shape) == 2, f"ids have two axes, not {ids}")
    tokens, count = ids.shape[0], fixed(ids.shape[1])
    return (
        TensorType((_times(tokens, count),), "int32"),
        TensorType(ids.shape, "int32"),
        TensorType((integer(attrs, "num_experts"),), "int32"),
    )


def _grouped_linear(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [A, I], weights [X, O, I], counts int32 [X] -> [A, O].

    The first counts[0] rows are multiplied by weights[0].T, the next counts[1] by weights[1].T,
    and so on; what rows past the last counted one give is undefined. Weights of an expert
    without rows do not matter, not-a-number included.
    """
    x, weights, counts = tensor(types, 0), tensor(types, 1), tensor(types, 2)
    expect(len(weights.shape) == 3, f"expert weights have three axes, not {weights}")
    expect(x.shape[1:] == weights.shape[2:], f"{x} does not fit the weights {weights}")
    expect(x.dtype == weights.dtype, f"{x} and {weights} differ in dtype")
    expect(counts.shape == weights.shape[:1], f"{counts} is not one count for each of {weights}")
    return (TensorType((x.shape[0], weights.shape[1]), x.dtype),)


def _combine(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Y [kT, E], places int32 [T, k], weights [T, k] -> [T, E].

    Each token's rows of y, weighted and summed in float32.
    """
    y, places, weights = tensor(types, 0), tensor(types, 1), tensor(types, 2)
    expect(places.shape == weights.shape, f"{places} and {weights} differ in shape")
    expect(y.shape[0] == _times(places.shape[0], fixed(places.shape[1])), f"{y} is not k rows each")
    return (TensorType((places.shape[0], *y.shape[1:]), y.dtype),)


def _times(size: Size, factor: int) -> Size:
    if isinstance(size, Dim):
        return Dim(size.symbol, size.times * factor, size.over, size.plus * factor)
    return size * factor


ROUTE = Op(name="route", infer=_route)
GROUP_ROWS = Op(name="group_rows", infer=_group_rows)
GROUPED_LINEAR = Op(name="grouped_linear", infer=_grouped_linear)
COMBINE = Op(name="combine", infer=_combine)

OPS = (ROUTE, GROUP_ROWS, GROUPED_LINEAR, COMBINE)
