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
from dataclasses import dataclass
from typing import Literal

from octavo_platforms.graph import TensorType, ValueType
from octavo_platforms.ops.op import (
    Attrs,
    Op,
    ShapeError,
    expect,
    fixed,
    integer,
    multiple,
    real,
    tensor,
)

Score = Literal["softmax", "sigmoid", "near"]


@dataclass(frozen=True, slots=True)
class Routing:
    """How a token's experts are chosen and weighed: the attributes of `route`."""

    top_k: int
    renormalise: bool
    score: Score = "softmax"
    nearness: float = 0.0
    groups: int = 1
    top_groups: int = 1
    group_score: Literal["best", "two best"] = "best"
    factor: float = 1.0


def routing_of(attrs: Attrs) -> Routing:
    """Read the attributes of `route`. Raises: ShapeError."""
    expect(isinstance(attrs.get("renormalise"), bool), "'renormalise' has to be true or false")
    group_score = attrs.get("group_score", "best")
    expect(group_score in ("best", "two best"), "'group_score' has to be best or two best")
    found = Routing(
        top_k=integer(attrs, "top_k"),
        renormalise=bool(attrs["renormalise"]),
        score=_score(attrs),
        nearness=real({"nearness": 0.0, **attrs}, "nearness"),
        groups=integer({"groups": 1, **attrs}, "groups"),
        top_groups=integer({"top_groups": 1, **attrs}, "top_groups"),
        group_score="two best" if group_score == "two best" else "best",
        factor=real({"factor": 1.0, **attrs}, "factor"),
    )
    expect(0 < found.top_groups <= found.groups, "'top_groups' has to be at most 'groups'")
    if found.score == "near":
        expect(found.nearness >= 0, "'nearness' cannot be negative")
        expect(not found.renormalise and found.groups == 1, "near shares know no others, no groups")
    return found


def _score(attrs: Attrs) -> Score:
    match attrs.get("score", "softmax"):
        case "softmax" | "sigmoid" | "near" as score:
            return score
        case other:
            raise ShapeError(f"'score' has to be softmax, sigmoid or near, not {other!r}")


def _route(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Logits [T, X], bias [X] or absent -> ids int32 [T, k], weights [T, k].

    A share is an expert's part of the softmax over all, or the sigmoid of its own logit, in
    float32; or, `near`, its part of the softmax over experts that were not chosen before it and
    whose logits l are near its own b: b - l <= nearness * max(b, |l|). Chosen are the k largest
    shares, or where they are near the k largest logits, the largest first and of equal ones the
    lowest id; with a bias, by share and bias together; with `groups`, only from the `top_groups`
    best of as many equal runs of experts, of equal ones the first, a group being as good as its
    best expert or as its two best together. A weight is the expert's share, or its part of the
    chosen ones' shares where `renormalise` says so, times `factor`; no weight knows the bias.

    Attributes: as `Routing` has them; all but the first two may be absent. Shares that are near
    know no bias.
    """
    logits, routing = tensor(types, 0), routing_of(attrs)
    count, groups = routing.top_k, routing.groups
    expect(len(logits.shape) == 2, f"logits have two axes, not {logits}")
    num_experts = fixed(logits.shape[1])
    expect(num_experts % groups == 0, f"{num_experts} experts are not {groups} equal groups")
    open_experts = num_experts // groups * routing.top_groups
    expect(0 < count <= open_experts, f"cannot choose {count} experts by {logits}")
    if routing.group_score == "two best":
        expect(num_experts // groups > 1, "groups of one expert have no two best ones")
    if len(types) == 2:
        bias = tensor(types, 1)
        expect(routing.score != "near", "shares that are near know no bias")
        expect(bias.shape == logits.shape[1:], f"the bias {bias} does not fit {logits}")
    shape = (logits.shape[0], count)
    return TensorType(shape, "int32"), TensorType(shape, logits.dtype)


def _group_rows(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Ids int32 [T, k], query_starts int32 [R+1]; num_experts X -> rows, places, counts.

    Sorts the pairs of a token and an expert by expert, then by token; those of padding, and of
    the id X, which is nobody's, come last and are not counted. `rows` int32 [kT] is each pair's
    token, `places` int32 [T, k] where each token's pairs went, `counts` int32 [X] how many pairs
    each expert has.
    """
    ids = tensor(types, 0)
    tensor(types, 1)
    expect(len(ids.shape) == 2, f"ids have two axes, not {ids}")
    tokens, count = ids.shape[0], fixed(ids.shape[1])
    return (
        TensorType((multiple(tokens, count),), "int32"),
        TensorType(ids.shape, "int32"),
        TensorType((integer(attrs, "num_experts"),), "int32"),
    )


def _grouped_linear(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [A, I], weights [X, O, I], counts int32 [X], bias [X, O] or absent -> [A, O].

    The first counts[0] rows are multiplied by weights[0].T and get bias[0], the next counts[1]
    by weights[1].T, and so on; what rows past the last counted one give is undefined. Weights
    and biases of an expert without rows do not matter, not-a-number included.
    """
    x, weights, counts = tensor(types, 0), tensor(types, 1), tensor(types, 2)
    expect(len(weights.shape) == 3, f"expert weights have three axes, not {weights}")
    expect(x.shape[1:] == weights.shape[2:], f"{x} does not fit the weights {weights}")
    expect(x.dtype == weights.dtype, f"{x} and {weights} differ in dtype")
    expect(counts.shape == weights.shape[:1], f"{counts} is not one count for each of {weights}")
    if len(types) == 4:
        bias = tensor(types, 3)
        expect(bias.shape == weights.shape[:2], f"the bias {bias} does not fit {weights}")
    return (TensorType((x.shape[0], weights.shape[1]), x.dtype),)


def _combine(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Y [kT, E], places int32 [T, k], weights [T, k] -> [T, E].

    Each token's rows of y, weighted and summed in float32. What a row holds whose weight is 0
    does not matter, not-a-number included.
    """
    y, places, weights = tensor(types, 0), tensor(types, 1), tensor(types, 2)
    expect(places.shape == weights.shape, f"{places} and {weights} differ in shape")
    rows = multiple(places.shape[0], fixed(places.shape[1]))
    expect(y.shape[0] == rows, f"{y} is not k rows each")
    return (TensorType((places.shape[0], *y.shape[1:]), y.dtype),)


ROUTE = Op(name="route", infer=_route)
GROUP_ROWS = Op(name="group_rows", infer=_group_rows)
GROUPED_LINEAR = Op(name="grouped_linear", infer=_grouped_linear)
COMBINE = Op(name="combine", infer=_combine)

OPS = (ROUTE, GROUP_ROWS, GROUPED_LINEAR, COMBINE)
