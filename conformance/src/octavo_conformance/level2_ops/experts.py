"""Mixtures of experts: routing, rows grouped by expert, a product for each group, and the sum.

Knows nothing of which layers have experts.
"""

from __future__ import annotations

from collections.abc import Sequence

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
from octavo_platforms.graph import Dim
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


@promise(level=2, area="group_rows")
def sorts_pairs_by_expert(bench: Bench) -> None:
    """By expert, then by token; experts that nobody chose, and one that everybody did."""
    leaves = (Input("ids", (T, TOP_K), "int32"), QUERY_STARTS)
    with optional():
        node = OneNode(bench, "group_rows", leaves, dtype="float32", num_experts=NUM_EXPERTS)
    for queries in ((1,), (5, 0, 3), (33,)):
        num_tokens = sum(queries)
        drawn = random(f"ids {queries}").permuted(np.tile(range(5), (num_tokens, 1)), axis=1)
        one = np.tile([4, 0], (num_tokens, 1))
        for ids in (drawn[:, :TOP_K], one):
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
    leaves = (
        Input("y", (PAIRS, 40), dtype),
        Input("places", (T, TOP_K), "int32"),
        Input("weights", (T, TOP_K), dtype),
    )
    with optional():
        node = OneNode(bench, "combine", leaves, dtype=dtype)
    for num_tokens in (1, 7, 33):
        count = num_tokens * TOP_K
        places = random("places").permutation(count).reshape(num_tokens, TOP_K)
        node.check(
            Step(queries=(num_tokens,)),
            y=reals(normal("combine", count, 40), dtype),
            places=host(ints(places)),
            weights=reals(np.abs(normal("weights", num_tokens, TOP_K)), dtype),
        )


def _grouped(bench: Bench, weights: HostTensor) -> OneNode:
    leaves = (
        Input("x", (PAIRS, weights.shape[2]), weights.dtype),
        Constant("w", weights),
        COUNTS,
    )
    with optional():
        return OneNode(bench, "grouped_linear", leaves, dtype=weights.dtype)


def _step(counts: Sequence[int]) -> Step:
    return Step(queries=(sum(counts) // TOP_K,))
