"""Attention: each token its own request's past and itself, and nothing else, ever.

Expected values come from attention without pages, request by request; the pages, the batch
and the poison around it are what is tested. Knows nothing of how a kernel splits its work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from hypothesis import strategies as st

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise_by_dtype
from octavo_conformance.compare import close, reals
from octavo_conformance.drawing import law, normal
from octavo_conformance.level2_ops.optional import optional
from octavo_conformance.level2_ops.paged import (
    AHEAD,
    Paged,
    Sizes,
    not_a_number,
    slots_of,
    tables_for,
)
from octavo_conformance.oracle.attention import attend
from octavo_conformance.oracle.values import Floats, floats, widen
from octavo_conformance.steps import Step
from octavo_conformance.verdict import insist
from octavo_platforms.ops.state import Lengths
from octavo_platforms.tensor import DType, HostTensor

Batch = list[tuple[int, int]]
"""Requests as (new tokens, positions computed before)."""

LENGTHS: Mapping[Lengths, int] = MappingProxyType({"host": 0, "device": AHEAD})
"""Who knows what is computed, and how many blocks a table then has to spare."""

SLOPES = (0.9, 0.27, 0.081, 0.0243)
"""What scores lose with each position: of a head that sees little, to one that sees far."""

BATCHES = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 30)), min_size=1, max_size=5)


@promise_by_dtype(level=2, area="attention")
def attends_one_token_of_each_request(bench: Bench, dtype: DType) -> None:
    """Contexts that end in, at and just behind a block's last slot, and the very first token."""
    for sizes in (Sizes(), Sizes(heads=9, kv_heads=3, width=32), Sizes(heads=3, kv_heads=3)):
        paged = Paged(bench, dtype, sizes)
        _check(paged, [(1, 0), (1, 3), (1, 4), (1, 30), (1, 7), (1, 8)])
        _check(paged, [(1, 17)])


@promise_by_dtype(level=2, area="attention")
def attends_whole_prompts(bench: Bench, dtype: DType) -> None:
    """No token sees the next; each query head reads the KV head of its own group."""
    for sizes in (Sizes(), Sizes(heads=8, kv_heads=1), Sizes(heads=6, kv_heads=2, width=64)):
        paged = Paged(bench, dtype, sizes)
        _check(paged, [(13, 0)])
        _check(paged, [(5, 0), (12, 0), (1, 0)])


@promise_by_dtype(level=2, area="attention")
def attends_any_batch(bench: Bench, dtype: DType) -> None:
    """Prompts, parts of prompts and single tokens together, in any number and order."""
    paged = Paged(bench, dtype, Sizes())
    law(bench.examples, BATCHES, lambda batch: _check(paged, batch))


@promise_by_dtype(level=2, area="attention")
def attends_far_back(bench: Bench, dtype: DType) -> None:
    """A context of two thousand tokens beside a short one, in blocks in no order."""
    paged = Paged(bench, dtype, Sizes(block_size=16, num_blocks=160, kv_heads=1, heads=2))
    _check(paged, [(1, 2050), (1, 3), (3, 140)])


@promise_by_dtype(level=2, area="attention")
def survives_large_scores(bench: Bench, dtype: DType) -> None:
    """Scores in the hundreds: the weights are taken relative to the largest."""
    sizes = Sizes(scale=1.0)
    paged = Paged(bench, dtype, sizes)
    order = np.random.Generator(np.random.Philox(3)).permutation(20) * 0.5
    keys = np.ones((20, sizes.kv_heads, sizes.width)) * order[:, None, None]
    values = normal("large v", 20, sizes.kv_heads, sizes.width).astype(np.float64)
    queries = np.full((8, sizes.heads, sizes.width), 8.0)
    _check(paged, [(8, 12)], keys=keys, values=values, queries=queries)


@promise_by_dtype(level=2, area="attention")
def keeps_a_requests_not_a_number_to_itself(bench: Bench, dtype: DType) -> None:
    """Where one request's context is spoilt, its batch mates attend as if it were not there."""
    paged = Paged(bench, dtype, Sizes())
    _check_spoilt(paged, [(1, 9), (3, 6), (1, 14), (2, 0)], request=1)
    for request in range(3):
        _check_spoilt(paged, [(1, 9), (1, 14), (1, 2)], request=request)


@promise_by_dtype(level=2, area="attention")
def reads_no_further_than_the_block_table_says(bench: Bench, dtype: DType) -> None:
    """A table wider than any context, padded with the null block, changes nothing."""
    paged = Paged(bench, dtype, Sizes())
    _check(paged, [(1, 5), (4, 2)], extra_blocks=11)


@promise_by_dtype(level=2, area="attention")
def sees_no_further_than_its_window(bench: Bench, dtype: DType) -> None:
    """Windows of one token, part of a block, whole blocks, and more than there is."""
    for window in (1, 3, 8, 100):
        with optional():
            paged = Paged(bench, dtype, Sizes(window=window))
        _check(paged, [(1, 0), (1, 2), (1, 3), (1, 4), (1, 30), (1, 7), (1, 8)])
        _check(paged, [(1, 17)])
        _check(paged, [(13, 0), (1, 0), (3, 9), (1, 20)])


@promise_by_dtype(level=2, area="attention")
def sees_its_window_in_any_batch(bench: Bench, dtype: DType) -> None:
    """Prompts, parts of prompts and single tokens together, behind a window."""
    with optional():
        paged = Paged(bench, dtype, Sizes(window=6))
    law(bench.examples, BATCHES, lambda batch: _check(paged, batch))


@promise_by_dtype(level=2, area="attention")
def keeps_scores_below_a_cap(bench: Bench, dtype: DType) -> None:
    """Scores far above the cap and below it, with windows and lengths of the device as well."""
    for more in ({}, {"window": 3}, {"lengths": "device"}):
        _check_bent(bench, dtype, replace(Sizes(softcap=2.0, scale=1.0), **more))


@promise_by_dtype(level=2, area="attention")
def gives_each_head_its_sink(bench: Bench, dtype: DType) -> None:
    """Sinks above all scores and below, with windows, caps and lengths of the device as well."""
    for more in ({}, {"window": 3}, {"softcap": 2.0}, {"lengths": "device"}):
        _check_bent(bench, dtype, replace(Sizes(sinks=True), **more))


@promise_by_dtype(level=2, area="attention")
def takes_from_scores_what_each_heads_slope_says(bench: Bench, dtype: DType) -> None:
    """Heads that share keys and those that do not; with all else that a node can have beside."""
    for more in (
        {},
        {"kv_heads": 1, "window": 3},
        {"kv_heads": 4, "softcap": 2.0, "sinks": True},
        {"lengths": "device"},
    ):
        _check_bent(bench, dtype, replace(Sizes(slopes=SLOPES), **more))


@promise_by_dtype(level=2, area="attention")
def takes_by_distance_however_long_the_context(bench: Bench, dtype: DType) -> None:
    """Two thousand tokens back, where a slope times a position has lost what is near."""
    sizes = Sizes(block_size=16, num_blocks=160, kv_heads=1, heads=2, slopes=SLOPES[::3])
    with optional():
        paged = Paged(bench, dtype, sizes)
    _check(paged, [(9, 2050), (1, 3), (3, 140)])
    _check(paged, [(1, 2050), (1, 3)])


@promise_by_dtype(level=2, area="attention")
def needs_no_block_that_its_window_has_left(bench: Bench, dtype: DType) -> None:
    """Blocks before the window of a request's first token are null, and spoilt with the rest."""
    for lengths, extra_blocks in LENGTHS.items():
        with optional():
            paged = Paged(bench, dtype, Sizes(window=6, lengths=lengths))
        for batch in ([(1, 30), (1, 2), (1, 17)], [(13, 9), (1, 0), (3, 25), (1, 20)]):
            _check(paged, batch, extra_blocks=extra_blocks, has_left=True)


@promise_by_dtype(level=2, area="attention")
def attends_by_lengths_that_the_device_made(bench: Bench, dtype: DType) -> None:
    """The launch says more than is computed; what lies past the true lengths is not looked at."""
    for window in (None, 3):
        with optional():
            paged = Paged(bench, dtype, Sizes(window=window, lengths="device"))
        _check(paged, [(1, 0), (3, 5), (1, 30), (13, 0), (3, 7)], extra_blocks=AHEAD)
        _check(paged, [(1, 17)], extra_blocks=AHEAD)


def _check_bent(bench: Bench, dtype: DType, sizes: Sizes) -> None:
    """Check single tokens, parts of prompts and prompts, where scores are more than products."""
    with optional():
        paged = Paged(bench, dtype, sizes)
    extra = AHEAD if sizes.lengths == "device" else 0
    _check(paged, [(1, 0), (1, 30), (3, 9), (13, 0), (1, 7)], extra_blocks=extra)
    _check(paged, [(1, 17)], extra_blocks=extra)
    _check(paged, [(40, 0)], extra_blocks=extra)


def _check_spoilt(paged: Paged, batch: Batch, *, request: int) -> None:
    """Check that a batch attends as it should, but for one whose context is no number."""
    step, q, expected = _feed(paged, batch)
    assert step.tables is not None
    context, sizes = sum(batch[request]), paged.sizes
    slots = slots_of(step.tables[request], context, sizes.block_size)
    nothing = not_a_number((context, sizes.kv_heads, sizes.width), paged.dtype)
    paged.write(slots.tolist(), nothing, nothing)
    found = paged.attend(step, q)
    owners = np.repeat(np.arange(len(batch)), [new for new, _ in batch])
    mates = owners != request
    close("attention", HostTensor(found.array[mates], paged.dtype), expected[mates], paged.dtype)
    own = widen(HostTensor(found.array[~mates], paged.dtype))
    insist(bool(np.isnan(own).all()), "a context of not-a-number gave numbers")


def _check(
    paged: Paged,
    batch: Batch,
    *,
    keys: Floats | None = None,
    values: Floats | None = None,
    queries: Floats | None = None,
    extra_blocks: int = 0,
    has_left: bool = False,
) -> None:
    step, q, expected = _feed(
        paged, batch, keys=keys, values=values, queries=queries, extra_blocks=extra_blocks
    )
    if has_left:
        step = _without_what_was_left(step, paged.sizes)
    close("attention", paged.attend(step, q), expected, paged.dtype)


def _without_what_was_left(step: Step, sizes: Sizes) -> Step:
    """Make the blocks null that no token of a step sees."""
    assert step.tables is not None
    assert sizes.window is not None
    tables = []
    for table, before in zip(step.tables, step.before.tolist(), strict=True):
        num_left = max(0, before - sizes.window + 1) // sizes.block_size
        tables.append([*[0] * num_left, *table[num_left:]])
    return replace(step, tables=tables)


def _feed(
    paged: Paged,
    batch: Batch,
    *,
    keys: Floats | None = None,
    values: Floats | None = None,
    queries: Floats | None = None,
    extra_blocks: int = 0,
) -> tuple[Step, HostTensor, Floats]:
    """Fill the state for a batch; give its step, its queries and what has to come out."""
    sizes, dtype = paged.sizes, paged.dtype
    contexts = [new + before for new, before in batch]
    tables = tables_for(contexts, sizes, f"tables {batch}")
    shape = (sum(contexts), sizes.kv_heads, sizes.width)
    k = reals(normal(f"keys {batch}", *shape) if keys is None else keys, dtype)
    v = reals(normal(f"values {batch}", *shape) if values is None else values, dtype)
    num_tokens = sum(new for new, _ in batch)
    drawn = normal(f"queries {batch}", num_tokens, sizes.heads, sizes.width)
    q = reals(drawn if queries is None else queries, dtype)
    paged.spoil()
    slots = [slots_of(*each, sizes.block_size) for each in zip(tables, contexts, strict=True)]
    paged.write(np.concatenate(slots).astype(np.int32), k, v)
    expected = np.zeros((num_tokens, sizes.heads, sizes.width))
    token = place = 0
    for new, before in batch:
        own, past = slice(token, token + new), slice(place, place + new + before)
        expected[own] = attend(
            floats(q)[own],
            floats(k)[past],
            floats(v)[past],
            first=before,
            scale=sizes.scale,
            window=sizes.window,
            softcap=sizes.softcap,
            sinks=floats(paged.sinks) if sizes.sinks else None,
            slopes=floats(paged.slopes) if sizes.slopes else None,
        )
        token, place = own.stop, past.stop
    step = Step(
        queries=[new for new, _ in batch],
        computed=[before for _, before in batch],
        tables=[[*table, *[0] * extra_blocks] for table in tables],
    )
    return step, q, expected
