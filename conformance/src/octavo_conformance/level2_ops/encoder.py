"""Encoders: attention both ways within a request, and the mean of its rows.

Knows nothing of pages.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise_by_dtype
from octavo_conformance.compare import close, reals
from octavo_conformance.drawing import normal
from octavo_conformance.level2_ops.node import QUERY_STARTS, Input, OneNode, T
from octavo_conformance.level2_ops.optional import optional
from octavo_conformance.level2_ops.paged import not_a_number
from octavo_conformance.oracle.encoder import encoder_attention, mean_rows
from octavo_conformance.oracle.values import floats
from octavo_conformance.steps import Step
from octavo_platforms.tensor import DType, HostTensor

REACHES = ((2, 3), (None, 0), (40, 7))
BATCHES = ((1,), (13,), (1, 1, 1), (5, 0, 12, 1), (70, 3))
SPOILT = slice(5, 8)
"""The second request of the batch (5, 3, 6)."""


@promise_by_dtype(level=2, area="encoder_attention")
def looks_both_ways_within_a_request(bench: Bench, dtype: DType) -> None:
    """All tokens of its own request and no others, grouped heads or not."""
    for heads, kv_heads in ((4, 2), (3, 3), (8, 1)):
        node = _attention(bench, dtype, heads, kv_heads)
        for queries in BATCHES:
            node.check(Step(queries=queries), **_rows(sum(queries), heads, kv_heads, dtype))


@promise_by_dtype(level=2, area="encoder_attention")
def sees_as_far_as_it_says(bench: Bench, dtype: DType) -> None:
    """So many tokens before and after each one, none of another request, also over many rows."""
    for before, after in REACHES:
        node = _attention(bench, dtype, 4, 2, before=before, after=after)
        for queries in ((5, 0, 12, 1), (250,)):
            node.check(Step(queries=queries), **_rows(sum(queries), 4, 2, dtype))


@promise_by_dtype(level=2, area="encoder_attention")
def keeps_not_a_number_within_a_request(bench: Bench, dtype: DType) -> None:
    """Where one request's keys and values are spoilt, its batch mates do not notice."""
    node = _attention(bench, dtype, 4, 2)
    step, given = Step(queries=(5, 3, 6)), _rows(14, 4, 2, dtype)
    q, k, v = (floats(given[name]) for name in "qkv")
    exact = encoder_attention(q, k, v, step.starts, scale=0.3, num_kv_heads=2)
    for name in "kv":
        given[name].array[SPOILT] = not_a_number((3, 2, 16), dtype).array
    (found,) = node.outputs(step, **given)
    mates = np.delete(np.arange(14), SPOILT)
    close("encoder_attention", HostTensor(found.array[mates], dtype), exact[mates], dtype)


@promise_by_dtype(level=2, area="mean_rows")
def averages_each_request(bench: Bench, dtype: DType) -> None:
    """Requests of any length; one without tokens gives zeros."""
    node = _mean(bench, dtype)
    for queries in BATCHES:
        node.check(Step(queries=queries), x=reals(normal("mean", sum(queries), 40), dtype))


@promise_by_dtype(level=2, area="mean_rows")
def averages_no_row_of_another_request(bench: Bench, dtype: DType) -> None:
    """Not-a-number in one request leaves the means of its batch mates as they are."""
    step, x = Step(queries=(5, 3, 6)), reals(normal("mean", 14, 40), dtype)
    exact = mean_rows(floats(x), step.starts)
    x.array[SPOILT] = not_a_number((3, 40), dtype).array
    (found,) = _mean(bench, dtype).outputs(step, x=x)
    close("mean_rows", HostTensor(found.array[[0, 2]], dtype), exact[[0, 2]], dtype)


def _attention(
    bench: Bench,
    dtype: DType,
    heads: int,
    kv_heads: int,
    *,
    before: int | None = None,
    after: int | None = None,
) -> OneNode:
    leaves = (
        Input("q", (T, heads, 16), dtype),
        Input("k", (T, kv_heads, 16), dtype),
        Input("v", (T, kv_heads, 16), dtype),
        QUERY_STARTS,
    )
    with optional():
        return OneNode(
            bench,
            "encoder_attention",
            leaves,
            dtype=dtype,
            scale=0.3,
            num_kv_heads=kv_heads,
            before=before,
            after=after,
        )


def _mean(bench: Bench, dtype: DType) -> OneNode:
    with optional():
        return OneNode(bench, "mean_rows", (Input("x", (T, 40), dtype), QUERY_STARTS), dtype=dtype)


def _rows(num_tokens: int, heads: int, kv_heads: int, dtype: DType) -> dict[str, HostTensor]:
    sizes = {"q": heads, "k": kv_heads, "v": kv_heads}
    return {
        name: reals(normal(f"encoder {name}", num_tokens, size, 16), dtype)
        for name, size in sizes.items()
    }
