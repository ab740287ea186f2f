"""What seats keep, and drafts held against what was chosen. These ops round nothing.

Knows nothing of who makes drafts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octavo.models.choosing import sample, tokens
from octavo_conformance.bench import Bench
from octavo_conformance.case import promise
from octavo_conformance.drawing import random
from octavo_conformance.level2_ops.node import (
    COMPUTED,
    QUERY_STARTS,
    TOKEN_IDS,
    Input,
    N,
    OneNode,
    R,
    T,
    builder,
    declare,
)
from octavo_conformance.level2_ops.optional import optional
from octavo_conformance.steps import Step, ints
from octavo_conformance.verdict import insist
from octavo_platforms.graph import Dim
from octavo_platforms.inputs import Pending
from octavo_platforms.tensor import HostTensor, host

NUM_SEATS = 17
WIDTH = 3
NUM_IDS = 60
KEPT = (((4, 9, 2, 16, 1), (11, 12, 13, 14, 15)), ((16, 4), (20, 21)), ((9, 1, 3), (31, 32, 33)))
NUM_DRAFTS = Input("num_drafts", (R,), "int32")
CHOSEN = Input("chosen", (Dim("R", times=WIDTH),), "int32")
BATCHES = (((3,), (2,)), ((1, 3, 2, 0, 9), (0, 2, 1, 0, 2)), ((3, 3, 3, 3), (2, 2, 2, 2)))


@promise(level=2, area="pick")
def takes_what_the_host_or_the_seat_knows(bench: Bench) -> None:
    """Given numbers stay where the source is 0; the k-th column of the seat's row elsewhere."""
    for num_columns in (1, 3):
        names = ("given", "source", "seats")
        leaves = [Input(name, (T,), "int32") for name in names]
        leaves += [Input(f"column{index}", (N,), "int32") for index in range(num_columns)]
        node = OneNode(bench, "pick", leaves, dtype="float32")
        draw = random(f"pick {num_columns}")
        for num_tokens in (1, 40):
            node.check(
                Step(queries=(num_tokens,)),
                given=host(ints(draw.integers(0, 2**31 - 1, num_tokens))),
                source=host(ints(draw.integers(0, 1 + num_columns, num_tokens))),
                seats=host(ints(draw.integers(0, NUM_SEATS, num_tokens))),
                **{
                    f"column{index}": host(
                        ints(np.maximum(draw.integers(-(2**29), 2**31 - 1, NUM_SEATS), -1))
                    )
                    for index in range(num_columns)
                },
            )


@promise(level=2, area="owners")
def tells_whose_each_token_is(bench: Bench) -> None:
    """Ragged requests, some without tokens."""
    node = OneNode(bench, "owners", (TOKEN_IDS, QUERY_STARTS), dtype="float32")
    for queries in ((1,), (5, 0, 3, 1), (0, 2), (2, 2, 2)):
        node.check(Step(queries=queries))


@promise(level=2, area="pick")
def gives_seats_their_tokens_before_they_were_read(bench: Bench) -> None:
    """Each seat keeps what was chosen for it last, other seats keep theirs, padding keeps none."""
    program = builder("float32")
    sample(program.entry("sample"), NUM_IDS, dtype="float32")
    g = program.entry("tokens")
    g.output("ids", tokens(g))
    running = bench.start(program.finish())
    unread: list[Pending] = []
    for seats, chosen in KEPT:
        logits = np.zeros((len(seats), NUM_IDS), np.float32)
        logits[np.arange(len(seats)), chosen] = 1
        step = Step(queries=[1] * len(seats), computed=[3] * len(seats), seats=seats)
        unread.append(running.launch("sample", step, logits=host(logits)))
        if len(unread) == bench.platform.info.max_in_flight:
            unread.pop(0).read()
    step = Step(queries=(1, 3, 1, 1), token_ids=(70, 71, 72, 73, 74, 75), seats=(4, 9, 16, 2))
    pending = running.launch("tokens", step, token_from=host(ints([1, 0, 0, 1, 0, 1])))
    for each in unread:
        each.read()
    found = pending.read().outputs["ids"].array.tolist()
    insist(found == [21, 71, 72, 31, 74, 13], f"seats gave {found}, not [21, 71, 72, 31, 74, 13]")


@promise(level=2, area="draft_rows")
def names_the_rows_around_drafts(bench: Bench) -> None:
    """No drafts, some and as many as there can be, behind prompts and single tokens."""
    with optional():
        node = OneNode(
            bench, "draft_rows", (QUERY_STARTS, NUM_DRAFTS), dtype="float32", width=WIDTH
        )
    for queries, drafts in BATCHES:
        node.check(Step(queries=queries), num_drafts=host(ints(drafts)))


@promise(level=2, area="accept")
def counts_drafts_up_to_the_first_that_differs(bench: Bench) -> None:
    """All right, none, the first alone, the last alone; what follows a wrong one is lost."""
    leaves = (TOKEN_IDS, CHOSEN, QUERY_STARTS, NUM_DRAFTS, COMPUTED)
    with optional():
        node = OneNode(bench, "accept", leaves, dtype="float32", width=WIDTH)
    for queries, drafts in BATCHES:
        for right in ((1, 1), (0, 0), (1, 0), (0, 1)):
            tokens, chosen = _drafted(queries, drafts, right)
            step = Step(
                queries=queries, token_ids=tokens, computed=range(7, 7 + 100 * len(queries), 100)
            )
            node.check(step, num_drafts=host(ints(drafts)), chosen=chosen)


@promise(level=2, area="last_rows")
def names_the_last_token_that_counts(bench: Bench) -> None:
    """All drafts accepted, some and none, behind prompts; requests without tokens beside them."""
    leaves = (QUERY_STARTS, NUM_DRAFTS, Input("num_tokens", (R,), "int32"))
    with optional():
        node = OneNode(bench, "last_rows", leaves, dtype="float32")
    for queries, drafts in BATCHES:
        for accepted in (0, 1, 2):
            counts = [
                1 + min(accepted, given) if query else 0
                for query, given in zip(queries, drafts, strict=True)
            ]
            node.check(
                Step(queries=queries),
                num_drafts=host(ints(drafts)),
                num_tokens=host(ints(counts)),
            )


@promise(level=2, area="accept")
def reads_as_tokens_and_how_many_count(bench: Bench) -> None:
    """Outputs `tokens` and `num_tokens` are what a result says, a row for each request."""
    program = builder("float32")
    g = program.entry("verify")
    leaves = (TOKEN_IDS, CHOSEN, QUERY_STARTS, NUM_DRAFTS, COMPUTED)
    tokens, num_tokens, last, _ = g.op("accept", *[declare(g, x) for x in leaves], width=WIDTH)
    for name, value in (("tokens", tokens), ("num_tokens", num_tokens), ("last", last)):
        g.output(name, value)
    with optional():
        running = bench.start(program.finish())
    step = Step(queries=(3, 1, 2), token_ids=[1, 11, 12, 2, 3, 5])
    chosen = host(ints([11, 12, 13, 21, 22, 23, 31, 32, 33]))
    drafts = host(ints([2, 0, 1]))
    found = running.launch("verify", step, chosen=chosen, num_drafts=drafts).read()
    insist(found.tokens.tolist() == [[11, 12, 13], [21, 0, 0], [31, 0, 0]], f"{found.tokens}")
    insist(found.num_tokens.tolist() == [3, 1, 1], f"{found.num_tokens.tolist()} count")
    insist(set(found.outputs) == {"last"}, f"{sorted(found.outputs)} are given as well")


def _drafted(
    queries: Sequence[int], drafts: Sequence[int], right: Sequence[int]
) -> tuple[list[int], HostTensor]:
    """Give tokens whose drafts are right where said, and what was chosen."""
    chosen = (
        random(f"drafts {queries} {right}").permutation(WIDTH * len(queries)).reshape(-1, WIDTH)
    )
    tokens: list[int] = []
    for mine, num_tokens, num_drafts in zip(chosen.tolist(), queries, drafts, strict=True):
        tokens += [1000] * (num_tokens - num_drafts)
        tokens += [
            mine[draft] if right[draft] else 1000 + mine[draft] for draft in range(num_drafts)
        ]
    return tokens, host(ints(np.ravel(chosen)))
