"""Buckets: every request is in one, padding and calls are balanced, nothing unwritten shows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from octavo_platforms.inputs import GroupInputs, StepInputs, StepShape
from octavo_torch.ops.buckets import Sorted, Sorter, split

BLOCK = 4


def cost_of(widths: Sequence[int], cost: int) -> int:
    return cost + len(widths) * max(widths)


def least_cost(widths: Sequence[int], cost: int) -> int:
    """Try every way to cut the sorted list."""
    ordered = sorted(widths, reverse=True)
    inner = range(1, len(ordered))
    return min(
        sum(
            cost_of(ordered[a:b], cost)
            for a, b in zip((0, *cuts), (*cuts, len(ordered)), strict=True)
        )
        for count in range(len(ordered))
        for cuts in combinations(inner, count)
    )


@given(st.lists(st.integers(1, 9), min_size=1, max_size=7), st.integers(0, 12))
def test_no_other_split_costs_less(widths: list[int], cost: int) -> None:
    parts = split(np.array(widths, np.int32), cost, 1000)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(widths)))
    found = sum(cost_of([widths[index] for index in part], cost) for part in parts)
    assert found == least_cost(widths, cost)


@given(st.lists(st.integers(1, 9), max_size=12), st.integers(1, 20))
def test_no_bucket_holds_more_than_it_may(widths: list[int], most: int) -> None:
    for part in split(np.array(widths, np.int32), 3, most):
        held = len(part) * max(widths[index] for index in part)
        assert len(part) == 1 or held <= most


def sort(queries: Sequence[int], computed: Sequence[int]) -> tuple[Sorted, StepInputs]:
    lengths = np.add(queries, computed)
    width = max(1, -(-int(lengths.max()) // BLOCK))
    table = np.arange(1, len(queries) * width + 1, dtype=np.int32).reshape(-1, width)
    table[np.arange(width) >= -(-lengths[:, None] // BLOCK)] = 0
    starts = np.concatenate(([0], np.cumsum(queries))).astype(np.int32)
    sizes = StepShape(int(starts[-1]), len(queries), 1, max(queries), int(lengths.max()), None)
    inputs = StepInputs(
        entry="step",
        sequence=0,
        shape=sizes,
        token_ids=np.zeros(starts[-1], np.int32),
        query_starts=starts,
        seat=np.arange(len(queries), dtype=np.int32),
        computed=np.array(computed, np.int32),
        rows=starts[1:] - np.int32(1),
        sampling=None,
        groups={"kv": GroupInputs(table)},
    )
    sorter = Sorter(
        group="kv",
        block_size=BLOCK,
        bucket_cost_blocks=3,
        max_bucket_blocks=64,
        mask_dtype=torch.float32,
        device=torch.device("cpu"),
    )
    return sorter(inputs), inputs


requests = st.lists(st.tuples(st.sampled_from([0, 1, 1, 1, 5]), st.integers(0, 40)), min_size=1)


@given(requests)
def test_each_token_is_attended_from_once_and_sees_its_own_context(
    drawn: list[tuple[int, int]],
) -> None:
    queries, computed = zip(*drawn, strict=True)
    found, inputs = sort(queries, computed)
    table = inputs.groups["kv"].block_table
    token_of: dict[int, int] = {}
    for bucket in found.buckets:
        tokens = range(bucket.num_requests) if bucket.tokens is None else bucket.tokens.tolist()
        blocks = bucket.blocks.view(bucket.num_requests, -1)
        slots, seen_slots = bucket.num_blocks * BLOCK, bucket.context
        is_clean = torch.zeros(bucket.num_requests * slots, dtype=torch.bool)
        if bucket.tail is not None:
            is_clean[bucket.tail] = True
        for row, token in enumerate(tokens):
            request = int(np.searchsorted(inputs.query_starts, token, side="right")) - 1
            token_of[token] = request
            length = computed[request] + 1
            own = -(-length // BLOCK)
            assert blocks[row, :own].tolist() == table[request, :own].tolist()
            assert set(blocks[row].tolist()) == set(table[request, :own].tolist()), "a mate is read"
            seen = torch.ones(seen_slots) if bucket.mask is None else bucket.mask[row, 0, 0].exp()
            assert seen.tolist() == [1.0] * length + [0.0] * (seen_slots - length)
            unwritten = is_clean[row * slots : (row + 1) * slots].nonzero()[:, 0].tolist()
            end = slots if length < BLOCK else own * BLOCK
            assert unwritten == list(range(length, min(end, seen_slots)))
    for long in found.longs:
        request = int(np.searchsorted(inputs.query_starts, long.start, side="right")) - 1
        token_of.update(dict.fromkeys(range(long.start, long.stop), request))
        assert long.context == computed[request] + queries[request]
    assert sorted(token_of) == list(range(sum(queries)))
