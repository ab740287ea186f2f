"""Mixtures of experts: routing, rows grouped by expert, a product for each group, and the sum.

Knows nothing of which layers have experts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise, promise_by_dtype
from octavo_conformance.compare import close, reals
from octavo_conformance.drawing import normal, random
from octavo_conformance.level2_ops.node import QUERY_STARTS, Constant, Input, OneNode, T
from octavo_conformance.level2_ops.optional import optional
from octavo_conformance.level2_ops.paged import not_a_number
from octavo_conformance.oracle.experts import grouped_linear
from octavo_conformance.oracle.values import floats
from octavo_conformance.steps import Step, ints
from octavo_platforms.graph import Attr, Dim
from octavo_platforms.tensor import DType, HostTensor, host

TOP_K = 2
NUM_EXPERTS = 5
PAIRS = Dim("T", times=TOP_K)
COUNTS = Input("counts", (NUM_EXPERTS,), "int32")
SPREADS = ((2, 0, 3, 1, 0), (0, 0, 0, 0, 2), (14, 20, 0, 1, 31), (1, 1, 1, 1, 0))


@promise_by_dtype(level=2, area="route")
def chooses_the_largest_logits(bench: Bench, dtype: DType) -> None:
    """The largest first, of equal ones the lowest id; shares of all experts or of the chosen."""
    for num_experts, top_k in ((8, 2), (3, 1), (4, 4), (64, 8)):
        for renormalise in (False, True):
            with optional():
                node = OneNode(
                    bench,
                    "route",
                    (Input("logits", (T, num_experts), dtype),),
                    dtype=dtype,
                    top_k=top_k,
                    renormalise=renormalise,
                )
            for num_tokens in (1, 7, 33):
                shape = (num_tokens, num_experts)
                drawn = normal(f"route {num_experts}", *shape, scale=4.0).astype(np.float32)
                for logits in (drawn, np.round(drawn), drawn * 0):
                    node.check(Step(queries=(num_tokens,)), logits=reals(logits, dtype))


GROUPED: Mapping[str, Attr] = {"groups": 4, "top_groups": 2, "top_k": 3}
TOGETHER: Mapping[str, Attr] = {**GROUPED, "group_score": "two best"}
WEIGHED: tuple[Mapping[str, Attr], ...] = (
    {"score": "sigmoid", "top_k": 3},
    {"factor": 2.5, "top_k": 3},
    {"score": "sigmoid", "factor": 0.5, "top_k": 1},
    GROUPED,
    TOGETHER,
    {**TOGETHER, "score": "sigmoid"},
    {**GROUPED, "groups": 8, "top_groups": 1, "top_k": 2},
)
BIASED: tuple[Mapping[str, Attr], ...] = ({"top_k": 3}, GROUPED, TOGETHER)


@promise_by_dtype(level=2, area="route")
def weighs_by_what_it_is_told(bench: Bench, dtype: DType) -> None:
    """Shares of a sigmoid, a factor, and the best groups of experts."""
    for attrs in WEIGHED:
        for renormalise in (False, True):
            with optional():
                leaves = (Input("logits", (T, 16), dtype),)
                given: dict[str, Attr] = {**attrs, "renormalise": renormalise}
                node = OneNode(bench, "route", leaves, dtype=dtype, max_blocks=64, **given)
            logits = normal("route 16", 33, 16, scale=2.0)
            node.check(Step(queries=(33,)), logits=reals(logits, dtype))


@promise_by_dtype(level=2, area="route")
def weighs_by_what_is_near(bench: Bench, dtype: DType) -> None:
    """Each of the chosen against those near it that are left; equal ones, and negative ones."""
    for top_k, nearness in ((1, 0.5), (2, 0.25), (3, 0.0), (2, 1.5)):
        with optional():
            leaves = (Input("logits", (T, 16), dtype),)
            given: dict[str, Attr] = {"top_k": top_k, "nearness": nearness, "renormalise": False}
            node = OneNode(
                bench, "route", leaves, dtype=dtype, max_blocks=64, score="near", **given
            )
        drawn = normal("route near", 33, 16, scale=4.0).astype(np.float32)
        for logits in (drawn, np.round(drawn), drawn - 20, drawn * 0):
            node.check(Step(queries=(33,)), logits=reals(logits, dtype))


@promise_by_dtype(level=2, area="route")
def chooses_by_a_bias_and_weighs_without_it(bench: Bench, dtype: DType) -> None:
    """A bias that changes who is chosen, alone and through groups."""
    bias = reals(normal("expert bias", 16), "float32")
    for attrs in BIASED:
        for score in ("softmax", "sigmoid"):
            with optional():
                leaves = (Input("logits", (T, 16), dtype), Constant("bias", bias))
                given: dict[str, Attr] = {**attrs, "renormalise": True, "score": score}
                node = OneNode(bench, "route", leaves, dtype=dtype, max_blocks=64, **given)
            logits = normal("route 16", 33, 16, scale=2.0)
            node.check(Step(queries=(33,)), logits=reals(logits, dtype))


@promise(level=2, area="group_rows")
def sorts_pairs_by_expert(bench: Bench) -> None:
    """By expert, then by token; experts that nobody chose, one that all did, and nobody's pairs."""
    leaves = (Input("ids", (T, TOP_K), "int32"), QUERY_STARTS)
    with optional():
        node = OneNode(bench, "group_rows", leaves, dtype="float32", num_experts=NUM_EXPERTS)
    for queries in ((1,), (5, 0, 3), (33,)):
        num_tokens = sum(queries)
        drawn = random(f"ids {queries}").permuted(np.tile(range(5), (num_tokens, 1)), axis=1)
        one = np.tile([4, 0], (num_tokens, 1))
        nobody = np.where(drawn == 2, NUM_EXPERTS, drawn)
        for ids in (drawn[:, :TOP_K], one, nobody[:, :TOP_K], one * 0 + NUM_EXPERTS):
            node.check(Step(queries=queries), ids=host(ints(ids)))


@promise_by_dtype(level=2, area="grouped_linear")
def multiplies_each_run_by_its_own_weight(bench: Bench, dtype: DType) -> None:
    """Runs of any length, none included, in sizes that are no power of two."""
    for n_in, n_out in ((32, 48), (17, 5)):
        node = _grouped(bench, reals(normal("experts", NUM_EXPERTS, n_out, n_in), dtype))
        for counts in SPREADS:
            x = reals(normal("expert x", sum(counts), n_in), dtype)
            node.check(_step(counts), x=x, counts=host(ints(counts)))


@promise_by_dtype(level=2, area="grouped_linear")
def adds_each_experts_bias(bench: Bench, dtype: DType) -> None:
    """To rows of its own, in runs of any length; an idle expert's may be not-a-number."""
    weights = reals(normal("experts", NUM_EXPERTS, 48, 32), dtype)
    bias = reals(normal("expert biases", NUM_EXPERTS, 48), dtype)
    for counts in SPREADS:
        idle = [expert for expert, count in enumerate(counts) if not count]
        bias.array[idle] = not_a_number((len(idle), 48), dtype).array
        node = _grouped(bench, weights, Constant("bias", bias))
        bias = reals(normal("expert biases", NUM_EXPERTS, 48), dtype)
        x = reals(normal("expert x", sum(counts), 32), dtype)
        node.check(_step(counts), x=x, counts=host(ints(counts)))


@promise_by_dtype(level=2, area="grouped_linear")
def keeps_not_a_number_to_its_expert_and_its_row(bench: Bench, dtype: DType) -> None:
    """An expert without rows may hold anything; a spoilt row spoils no other."""
    weights = reals(normal("experts", NUM_EXPERTS, 24, 32), dtype)
    weights.array[2] = not_a_number((24, 32), dtype).array
    node = _grouped(bench, weights)
    counts = ints((2, 3, 0, 1, 4))
    x = reals(normal("expert x", 10, 32), dtype)
    exact = grouped_linear(floats(x), floats(weights), counts)
    x.array[3] = not_a_number((32,), dtype).array
    (found,) = node.outputs(_step(counts.tolist()), x=x, counts=host(counts))
    others = [row for row in range(10) if row != 3]
    close("grouped_linear", HostTensor(found.array[others], dtype), exact[others], dtype)


@promise_by_dtype(level=2, area="combine")
def sums_rows_by_weight(bench: Bench, dtype: DType) -> None:
    """Each token's own rows, wherever they went."""
    node = _combine(bench, dtype)
    for num_tokens in (1, 7, 33):
        count = num_tokens * TOP_K
        places = random("places").permutation(count).reshape(num_tokens, TOP_K)
        node.check(
            Step(queries=(num_tokens,)),
            y=reals(normal("combine", count, 40), dtype),
            places=host(ints(places)),
            weights=reals(np.abs(normal("weights", num_tokens, TOP_K)), dtype),
        )


def _combine(bench: Bench, dtype: DType) -> OneNode:
    leaves = (
        Input("y", (PAIRS, 40), dtype),
        Input("places", (T, TOP_K), "int32"),
        Input("weights", (T, TOP_K), dtype),
    )
    with optional():
        return OneNode(bench, "combine", leaves, dtype=dtype)


@promise_by_dtype(level=2, area="combine")
def leaves_rows_without_weight_out(bench: Bench, dtype: DType) -> None:
    """A row whose weight is 0 may hold not-a-number."""
    node = _combine(bench, dtype)
    count = 9 * TOP_K
    places = random("places").permutation(count).reshape(9, TOP_K)
    weights = np.abs(normal("weights", 9, TOP_K)) * (places % 3 != 0)
    y = reals(normal("combine", count, 40), dtype)
    spoilt = np.arange(count) % 3 == 0
    y.array[spoilt] = not_a_number((int(spoilt.sum()), 40), dtype).array
    node.check(Step(queries=(9,)), y=y, places=host(ints(places)), weights=reals(weights, dtype))


def _grouped(bench: Bench, weights: HostTensor, *bias: Constant) -> OneNode:
    leaves: tuple[Input | Constant, ...] = (
        Input("x", (PAIRS, weights.shape[2]), weights.dtype),
        Constant("w", weights),
        COUNTS,
        *bias,
    )
    with optional():
        return OneNode(bench, "grouped_linear", leaves, dtype=weights.dtype)


def _step(counts: Sequence[int]) -> Step:
    return Step(queries=(sum(counts) // TOP_K,))
