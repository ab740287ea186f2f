"""Cross attention: all of a request's own encoder rows, from wherever its tokens stand.

Expected values come from attention without pages; the pages, the mates and the poison around
them are what is tested. Knows nothing of how a kernel splits its work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from octavo_conformance.bench import Bench, Running
from octavo_conformance.case import promise_by_dtype
from octavo_conformance.compare import close, reals
from octavo_conformance.drawing import normal
from octavo_conformance.level2_ops.node import (
    BLOCK_TABLE,
    QUERY_STARTS,
    Input,
    R,
    T,
    builder,
    declare,
)
from octavo_conformance.level2_ops.optional import optional
from octavo_conformance.level2_ops.paged import Sizes, not_a_number, slots_of, tables_for
from octavo_conformance.oracle.attention import attend
from octavo_conformance.oracle.values import Floats, floats
from octavo_conformance.steps import GROUP, Step, ints
from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.tensor import DType, HostTensor, host

Batch = Sequence[tuple[int, int]]
"""Requests as (tokens in the step, rows that were encoded)."""

SIZES = Sizes()
LENGTHS = Input(f"lengths.{GROUP}", (R,), "int32")


@promise_by_dtype(level=2, area="cross_attention")
def looks_at_all_that_was_encoded(bench: Bench, dtype: DType) -> None:
    """One token or many, fewer rows than tokens or more, from any position, wide tables."""
    for sizes in (SIZES, Sizes(heads=8, kv_heads=1, width=32)):
        running = _started(bench, dtype, sizes)
        for batch in ([(1, 7)], [(1, 1), (1, 30), (1, 8), (1, 4)], [(13, 5), (2, 29), (1, 12)]):
            _check(running, _feed(dtype, sizes, batch))
        _check(running, _feed(dtype, sizes, [(1, 9), (3, 5)]), computed=(40, 2), extra_blocks=5)


@promise_by_dtype(level=2, area="cross_attention")
def gives_zeros_where_nothing_was_encoded(bench: Bench, dtype: DType) -> None:
    """Requests without an encoder's rows stand beside others; alone, too."""
    running = _started(bench, dtype, SIZES)
    _check(running, _feed(dtype, SIZES, [(2, 0), (3, 6), (1, 0)]))
    _check(running, _feed(dtype, SIZES, [(1, 0)]))


@promise_by_dtype(level=2, area="cross_attention")
def keeps_encoded_not_a_number_to_its_request(bench: Bench, dtype: DType) -> None:
    """Where one request's rows are spoilt, its batch mates do not notice."""
    running = _started(bench, dtype, SIZES)
    fed = _feed(dtype, SIZES, [(1, 9), (3, 6), (2, 14)])
    spoilt = slots_of(fed.tables[1], 6, SIZES.block_size)
    for plane in (fed.k, fed.v):
        plane.array[spoilt] = not_a_number((6, SIZES.kv_heads, SIZES.width), dtype).array
    found, mates = _attended(running, fed), [0, 4, 5]
    close("cross_attention", HostTensor(found.array[mates], dtype), fed.expected[mates], dtype)


@dataclass(frozen=True, slots=True)
class _Fed:
    """A batch: its requests, what every slot holds, the queries, and what has to come out.

    Shapes: k and v [B * P, K, D], not-a-number where nobody wrote; q and expected [T, H, D].
    """

    batch: Batch
    tables: Sequence[Sequence[int]]
    k: HostTensor
    v: HostTensor
    q: HostTensor
    expected: Floats


def _started(bench: Bench, dtype: DType, sizes: Sizes) -> Running:
    row = (sizes.kv_heads, sizes.width)
    planes = (Plane("k", row, dtype), Plane("v", row, dtype))
    state = StateSpec(GROUP, "cross", planes, 1, sizes.block_size)
    program = builder(dtype)
    g = program.entry("write")
    k, v = (declare(g, Input(name, (T, *row), dtype)) for name in "kv")
    g.op("kv_write", k, v, declare(g, Input("slots", (T,), "int32")), g.state(state, 0))
    g = program.entry("attend")
    q = declare(g, Input("q", (T, sizes.heads, sizes.width), dtype))
    causes = [declare(g, each) for each in (QUERY_STARTS, LENGTHS, BLOCK_TABLE)]
    attrs = {"scale": sizes.scale, "num_kv_heads": sizes.kv_heads}
    g.output("out", g.one("cross_attention", q, *causes, g.state(state, 0), **attrs))
    with optional():
        return bench.start(program.finish(), num_blocks=sizes.num_blocks)


def _feed(dtype: DType, sizes: Sizes, batch: Batch) -> _Fed:
    lengths = [length for _, length in batch]
    tables = tables_for(lengths, sizes, f"cross tables {batch}")
    num_tokens = sum(new for new, _ in batch)
    q = reals(normal(f"cross q {batch}", num_tokens, sizes.heads, sizes.width), dtype)
    shape = (sizes.num_slots, sizes.kv_heads, sizes.width)
    k, v = not_a_number(shape, dtype), not_a_number(shape, dtype)
    expected = np.zeros((num_tokens, sizes.heads, sizes.width))
    token = 0
    for index, (new, length) in enumerate(batch):
        own = ints(slots_of(tables[index], length, sizes.block_size) if length else ())
        for name, plane in (("k", k), ("v", v)):
            rows = normal(f"cross {name} {index} {batch}", length, *shape[1:])
            plane.array[own] = reals(rows, dtype).array
        for at in range(token, token + new) if length else ():
            one, context = slice(at, at + 1), (floats(k)[own], floats(v)[own])
            expected[one] = attend(floats(q)[one], *context, first=length - 1, scale=sizes.scale)
        token += new
    return _Fed(batch, tables, k, v, q, expected)


def _attended(
    running: Running,
    fed: _Fed,
    *,
    computed: Sequence[int] | None = None,
    extra_blocks: int = 0,
) -> HostTensor:
    """Fill the whole state in one launch, then attend."""
    slots = ints(range(len(fed.k.array)))
    running.run("write", Step(queries=(len(slots),)), k=fed.k, v=fed.v, slots=host(slots))
    step = Step(
        queries=[new for new, _ in fed.batch],
        computed=computed,
        tables=[[*table, *[0] * extra_blocks] for table in fed.tables],
        lengths=[length for _, length in fed.batch],
    )
    return running.run("attend", step, q=fed.q)["out"]


def _check(
    running: Running,
    fed: _Fed,
    *,
    computed: Sequence[int] | None = None,
    extra_blocks: int = 0,
) -> None:
    found = _attended(running, fed, computed=computed, extra_blocks=extra_blocks)
    close("cross_attention", found, fed.expected, fed.q.dtype)
