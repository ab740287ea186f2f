"""Ops that talk to the other ranks of a group, or do a rank's own part of a whole.

    linear split by columns ── linear split by rows ── all_reduce
    embedding_part ── all_reduce                  each rank looks up the rows it has
    linear split by vocabulary ── all_gather      along the last axis
    all_gather ── expert_part ── experts ── reduce_scatter      each rank has some experts

Every op names its group and how many ranks are in it, so that shapes follow from the graph
alone; who they are is known when the program is bound (`octavo_platforms.ranks`). A rank's own
number is in no graph: the program is equal on all ranks.

Knows nothing of how a program is cut; a pass of core does.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo_platforms.graph import Dim, Size, TensorType, ValueType
from octavo_platforms.ops.op import (
    Attrs,
    Op,
    expect,
    fixed,
    float_dtype,
    integer,
    multiple,
    tensor,
)


def ranks_of(attrs: Attrs) -> int:
    """Give the number of ranks that an op talks to. Raises: ShapeError."""
    group_of(attrs)
    ranks = integer(attrs, "ranks")
    expect(ranks > 0, f"there cannot be {ranks} ranks")
    return ranks


def group_of(attrs: Attrs) -> str:
    """Give the name of an op's group. Raises: ShapeError."""
    found = attrs.get("group")
    expect(isinstance(found, str), f"'group' has to be a name, not {found!r}")
    assert isinstance(found, str)
    return found


def _all_reduce(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X; group, ranks -> the sum of all ranks' x, the same bits on each."""
    ranks_of(attrs)
    return (tensor(types, 0),)


def _all_gather(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [.., A, ..]; group, ranks N, axis -> all ranks' x along the axis, [.., N*A, ..]."""
    x, axis = tensor(types, 0), _axis(types, attrs)
    return (_resized(x, axis, multiple(x.shape[axis], ranks_of(attrs))),)


def _reduce_scatter(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [.., N*A, ..]; group, ranks N, axis -> the own part of the sum, [.., A, ..]."""
    x, axis = tensor(types, 0), _axis(types, attrs)
    return (_resized(x, axis, _part(x.shape[axis], ranks_of(attrs))),)


def _all_to_all(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [N*A, ...], counts int32 [N*C]; group, ranks N -> what came, its counts; as x, counts.

    The i-th of N equal shares of x goes to rank i with the i-th of counts, and the j-th of
    what comes is from rank j. A share's counts say how many of its rows there are, by
    whatever the C kinds are; rows past their sum are padding, and undefined where they arrive.
    """
    x, counts = tensor(types, 0), tensor(types, 1)
    ranks = ranks_of(attrs)
    _part(x.shape[0], ranks)
    expect(len(counts.shape) == 1 and counts.dtype == "int32", f"{counts} does not count rows")
    expect(fixed(counts.shape[0]) % ranks == 0, f"{counts} has no equal shares for {ranks} ranks")
    return x, counts


def _send(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X; group, ranks, to -> nothing; the rank `to` receives it."""
    tensor(types, 0)
    _peer(attrs, "to")
    return ()


def _recv(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Rows [A, ...]; group, ranks, source, width, dtype -> what came from `source`, [A, width].

    Of `rows` only the length is looked at: what is sent has a row for each token.
    """
    rows = tensor(types, 0)
    _peer(attrs, "source")
    return (TensorType((rows.shape[0], integer(attrs, "width")), float_dtype(attrs, "dtype")),)


def _embedding_part(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Table [V', E], ids int32 [T]; group, ranks -> [T, E], zeros for the rows of other ranks.

    The table holds the rows from i * V' on, on the rank whose number is i.
    """
    table, ids = tensor(types, 0), tensor(types, 1)
    ranks_of(attrs)
    expect(len(table.shape) == 2 and len(ids.shape) == 1, f"cannot look {ids} up in {table}")
    return (TensorType((ids.shape[0], table.shape[1]), table.dtype),)


def _expert_part(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Ids int32 [N*T, k], weights [N*T, k], rank_tokens int32 [N]; group, ranks N, num_experts X.

    Tokens of all ranks, as all_gather joins them, with the experts that each chose. The rank
    whose number is i has X experts, from i * X on. Gives ids and weights for these alone: ids count
    from 0, and where the expert is another rank's, or the token is past those that its rank has,
    the id is X, which is nobody's, and the weight 0.
    """
    ids, weights, tokens = tensor(types, 0), tensor(types, 1), tensor(types, 2)
    ranks = ranks_of(attrs)
    expect(len(ids.shape) == 2 and ids.dtype == "int32", f"{ids} are no ids of experts")
    expect(ids.shape == weights.shape, f"{ids} and {weights} differ in shape")
    _part(ids.shape[0], ranks)
    expect(tokens.shape == (ranks,) and tokens.dtype == "int32", f"{tokens} is no count for each")
    expect(integer(attrs, "num_experts") > 0, "a rank has at least one expert")
    return ids, weights


def _axis(types: Sequence[ValueType], attrs: Attrs) -> int:
    x, axis = tensor(types, 0), integer(attrs, "axis")
    expect(0 <= axis < len(x.shape), f"{x} has no axis {axis}")
    return axis


def _peer(attrs: Attrs, name: str) -> None:
    ranks, peer = ranks_of(attrs), integer(attrs, name)
    expect(0 <= peer < ranks, f"'{name}' is {peer}, and there are {ranks} ranks")


def _resized(x: TensorType, axis: int, size: Size) -> TensorType:
    return TensorType((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)


def _part(size: Size, ranks: int) -> Size:
    if isinstance(size, int):
        expect(size % ranks == 0, f"{size} has no {ranks} equal parts")
        return size // ranks
    expect(size.plus % ranks == 0, f"{size} has no {ranks} equal parts")
    if size.times % ranks == 0:
        return Dim(size.symbol, size.times // ranks, size.over, size.plus // ranks)
    return Dim(size.symbol, size.times, size.over * ranks, size.plus // ranks)


ALL_REDUCE = Op(name="all_reduce", infer=_all_reduce, hook="bind_collective")
ALL_GATHER = Op(name="all_gather", infer=_all_gather, hook="bind_collective")
REDUCE_SCATTER = Op(name="reduce_scatter", infer=_reduce_scatter, hook="bind_collective")
ALL_TO_ALL = Op(name="all_to_all", infer=_all_to_all, hook="bind_collective")
SEND = Op(name="send", infer=_send, hook="bind_collective")
RECV = Op(name="recv", infer=_recv, hook="bind_collective")
EMBEDDING_PART = Op(name="embedding_part", infer=_embedding_part, hook="bind_collective")
EXPERT_PART = Op(name="expert_part", infer=_expert_part, hook="bind_collective")

OPS = (
    ALL_REDUCE, ALL_GATHER, REDUCE_SCATTER, ALL_TO_ALL, SEND, RECV, EMBEDDING_PART, EXPERT_PART,
)  # fmt: skip
