"""Rows and counters. These ops round nothing, so their tolerance is none.

Knows nothing of other families.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise, promise_by_dtype
from octavo_conformance.compare import reals, same
from octavo_conformance.drawing import law, normal, random
from octavo_conformance.level2_ops.node import (
    BLOCK_TABLE,
    COMPUTED,
    QUERY_STARTS,
    ROWS,
    TOKEN_IDS,
    Constant,
    Input,
    N,
    OneNode,
    S,
    T,
    U,
    builder,
    declare,
)
from octavo_conformance.steps import Step, ints
from octavo_platforms.tensor import DType, HostTensor, host

FAR = 131_071
QUERIES = st.lists(st.integers(1, 9), min_size=1, max_size=6)
REQUESTS = st.lists(
    st.tuples(st.integers(1, 9), st.one_of(st.integers(0, 70), st.just(FAR - 9))),
    min_size=1,
    max_size=6,
)


@promise_by_dtype(level=2, area="embedding")
def looks_up_first_last_and_repeated_ids(bench: Bench, dtype: DType) -> None:
    """Each id gives its row of the table, to the bit."""
    table = Constant("table", reals(normal("embedding", 50, 24), dtype))
    node = OneNode(bench, "embedding", (table, TOKEN_IDS), dtype=dtype)
    for ids in ([49], [0, 49, 7, 7, 7, 1], list(range(50))):
        node.check(Step(queries=(len(ids),), token_ids=ids))


@promise_by_dtype(level=2, area="gather_rows")
def gathers_one_repeated_and_all_rows(bench: Bench, dtype: DType) -> None:
    """Each row asked for arrives, to the bit."""
    node = OneNode(bench, "gather_rows", (Input("x", (T, 24), dtype), ROWS), dtype=dtype)
    for num_tokens, rows in ((1, [0]), (7, [6]), (7, [0, 0, 6]), (33, list(range(33)))):
        x = reals(normal("gather_rows", num_tokens, 24), dtype)
        node.check(Step(queries=(num_tokens,), rows=rows), x=x)


@promise(level=2, area="gather_rows")
def gathers_integers_and_rows_of_two_axes(bench: Bench) -> None:
    """Positions are gathered like features, and a row may have axes of its own."""
    node = OneNode(bench, "gather_rows", (Input("x", (T,), "int32"), ROWS), dtype="float32")
    node.check(Step(queries=(9,), rows=[1, 5, 8]), x=host(ints(range(FAR, FAR + 9))))
    node = OneNode(bench, "gather_rows", (Input("x", (T, 3, 4), "float32"), ROWS), dtype="float32")
    x = reals(normal("gather_rows of two axes", 9, 3, 4), "float32")
    node.check(Step(queries=(9,), rows=[0, 8]), x=x)


@promise(level=2, area="scatter_rows")
def changes_the_named_rows_of_a_buffer_only(bench: Bench) -> None:
    """A buffer starts as zeros, keeps what is written, takes no row as well as many."""
    program = builder("float32")
    write = program.entry("write")
    target = write.buffer("kept", (N, 3), "uint32")
    rows, values = write.input("at", (U,), "int32"), write.input("values", (U, 3), "uint32")
    write.op("scatter_rows", target, rows, values)
    read = program.entry("read")
    rows = declare(read, Input("all", (S,), "int32"))
    read.output("out", read.one("gather_rows", read.buffer("kept", (N, 3), "uint32"), rows))
    running = bench.start(program.finish())
    expected = np.zeros((17, 3), np.uint32)
    step = Step(queries=(16,), rows=range(16))
    draw = random("scatter_rows")
    for at in ([], [3], [16, 1, 5], [], [5, 4]):
        new = draw.integers(0, 2**32, (len(at), 3), np.uint32)
        running.run("write", step, at=host(ints(at)), values=HostTensor(new, "uint32"))
        expected[at] = new
        found = running.run("read", step, all=host(ints(range(1, 17))))["out"]
        same(f"after rows {at} were written", found, HostTensor(expected[1:], "uint32"))


@promise(level=2, area="positions")
def counts_from_what_was_computed(bench: Bench) -> None:
    """Each token's position, in ragged batches and up to 131071."""
    leaves = (TOKEN_IDS, QUERY_STARTS, COMPUTED)
    node = OneNode(bench, "positions", leaves, dtype="float32")
    law(bench.examples, REQUESTS, lambda drawn: node.check(_ragged(drawn)))


@promise(level=2, area="slots")
def follows_permuted_block_tables(bench: Bench) -> None:
    """Each token's slot, through blocks in no order, at positions up to 131071."""
    leaves = (Input("positions", (T,), "int32"), QUERY_STARTS, BLOCK_TABLE)
    for block_size in (16, 1, 5):
        most = -(-(FAR + 1) // block_size)
        node = OneNode(
            bench, "slots", leaves, dtype="float32", max_blocks=most, block_size=block_size
        )
        blocks = 1 + random(f"slots {block_size}").permutation(2 * most)
        far = np.arange(FAR - 2, FAR + 1)
        near = np.arange(block_size, block_size + 7)
        step = Step(queries=(7, 3), tables=(blocks[:16].tolist(), blocks[-most:].tolist()))
        node.check(step, positions=host(ints([*near, *far])))
        node.check(Step(queries=(1,), tables=([7],)), positions=host(ints([0])))


@promise_by_dtype(level=2, area="split")
def cuts_rows_into_parts(bench: Bench, dtype: DType) -> None:
    """Parts of unequal width, as of queries, keys and values."""
    leaves = (Input("x", (T, 40), dtype),)
    node = OneNode(bench, "split", leaves, dtype=dtype, sizes=(24, 8, 8))
    for num_tokens in (1, 7):
        x = reals(normal("split", num_tokens, 40), dtype)
        node.check(Step(queries=(num_tokens,)), x=x)


@promise_by_dtype(level=2, area="heads")
def sees_rows_as_heads_and_back(bench: Bench, dtype: DType) -> None:
    """Heads and flatten move no element."""
    apart = OneNode(bench, "heads", (Input("x", (T, 40), dtype),), dtype=dtype, width=8)
    joined = OneNode(bench, "flatten", (Input("x", (T, 5, 8), dtype),), dtype=dtype)
    for num_tokens in (1, 7):
        step = Step(queries=(num_tokens,))
        x = reals(normal("heads", num_tokens, 40), dtype)
        apart.check(step, x=x)
        joined.check(step, x=HostTensor(x.array.reshape(num_tokens, 5, 8), dtype))


def _ragged(drawn: list[tuple[int, int]]) -> Step:
    return Step(queries=[query for query, _ in drawn], computed=[before for _, before in drawn])
