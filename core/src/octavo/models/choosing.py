"""Choosing tokens, as entries that every generator has: from logits on, whatever made them.

    sample          by temperature and seed, which seats keep; this is the road of most requests
    sample_cut      the same, of ids that top-k, top-p and min-p leave
    sample_shaped   the same, after masks, biases and penalties, which come with the launch
    tell            how likely the chosen tokens were, and which ids were likeliest

A launch runs the first that suffices for all its rows; settings of rows that want less leave
their logits as they are, to the bit. What is chosen stays on the device too (`seat.token`), for
the next launch to go on from. All but `sample` are optional: without them the host chooses.

Knows nothing of layers or families.
"""

from __future__ import annotations

from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo_platforms.graph import Dim, Value
from octavo_platforms.ops.scores import words_for
from octavo_platforms.program import Symbol
from octavo_platforms.tensor import DType

STARTS = Dim("R", plus=1)
T, R, S, U, N, H, B, A = (Dim(symbol) for symbol in "TRSUNHBA")

MAX_BIASED_IDS = 4096
DEFAULT_LOGPROBS = 20
MAX_SCORES = 64


def symbols(*, max_requests: int, max_context_tokens: int) -> tuple[Symbol, ...]:
    """Give the sizes that only these entries have.

    H tokens of the longest context that counts, B biased ids of a row, A masks.
    """
    return (
        Symbol("H", max_context_tokens),
        Symbol("B", MAX_BIASED_IDS),
        Symbol("A", max_requests + 1),
    )


def choices(
    program: ProgramBuilder, vocab_size: int, *, dtype: DType, max_logprobs: int = DEFAULT_LOGPROBS
) -> None:
    """Write all entries. `max_logprobs` is how many likeliest ids are told."""
    sample(program.entry("sample"), vocab_size, dtype=dtype)
    g = program.entry("sample_cut", is_optional=True)
    with g.scope("sample"):
        settings = sampling(g)
        _choose(g, _cut(g, _wide(g, vocab_size, dtype), settings), settings)
    g = program.entry("sample_shaped", is_optional=True)
    with g.scope("sample"):
        settings = sampling(g)
        shaped = _shaped(g, _wide(g, vocab_size, dtype), vocab_size)
        _choose(g, _cut(g, shaped, settings), settings)
    tell(program.entry("tell", is_optional=True), vocab_size, dtype=dtype, count=max_logprobs)


def tokens(g: GraphBuilder) -> Value:
    """Write the step's token ids: those given, or the last that their seats keep."""
    given, source = (g.input(name, (T,), "int32") for name in ("token_ids", "token_from"))
    with g.scope("tokens"):
        owners = g.one("owners", given, g.input("query_starts", (STARTS,), "int32"))
        seats = g.one("gather_rows", g.input("seat", (R,), "int32"), owners)
        return g.one("pick", given, source, seats, last_tokens(g))


def last_tokens(g: GraphBuilder) -> Value:
    """Declare the buffer with the last token that was chosen for each seat. Shapes: [N]."""
    return g.buffer("seat.token", (N,), "int32")


def sample(g: GraphBuilder, vocab_size: int, *, dtype: DType) -> None:
    """Write the entry `sample`: logits to tokens, by the settings of seats, which keep them."""
    logits = g.input("logits", (S, vocab_size), dtype)
    with g.scope("sample"):
        _choose(g, logits, sampling(g))


def sampling(g: GraphBuilder) -> Value:
    """Declare the settings that seats keep, after writing those that changed."""
    settings = g.buffer("seat_sampling", (N, 3), "uint32")
    changed = g.input("sampling_seats", (U,), "int32")
    g.op("scatter_rows", settings, changed, g.input("sampling_values", (U, 3), "uint32"))
    return settings


def tell(g: GraphBuilder, vocab_size: int, *, dtype: DType, count: int) -> None:
    """Write the entry `tell`: of the logits as they were, whatever was chosen by."""
    logits = g.input("logits", (S, vocab_size), dtype)
    with g.scope("tell"):
        told(g, logits, g.input("chosen", (S,), "int32"), count=min(count, vocab_size))


def told(g: GraphBuilder, logits: Value, ids: Value, *, count: int) -> None:
    """Write how likely ids are, and which are likeliest, as outputs."""
    logprob, rank = g.op("score", logits, ids)
    g.output("logprob", logprob)
    g.output("rank", rank)
    if count:
        top_ids, top_logprobs = g.op("most_likely", logits, count=count)
        g.output("top_ids", top_ids)
        g.output("top_logprobs", top_logprobs)


def _choose(g: GraphBuilder, logits: Value, settings: Value) -> None:
    rows = g.input("rows", (S,), "int32")
    row_seat = g.input("row_seat", (S,), "int32")
    query_starts = g.input("query_starts", (STARTS,), "int32")
    computed = g.input("computed", (R,), "int32")
    token_ids = g.input("token_ids", (T,), "int32")
    positions = g.one("positions", token_ids, query_starts, computed)
    row_positions = g.one("gather_rows", positions, rows)
    chosen = g.one("sample", logits, settings, row_seat, row_positions)
    g.op("scatter_rows", last_tokens(g), row_seat, chosen)
    g.output("tokens", chosen)


def _wide(g: GraphBuilder, vocab_size: int, dtype: DType) -> Value:
    logits = g.input("logits", (S, vocab_size), dtype)
    return logits if dtype == "float32" else g.one("cast", logits, to="float32")


def _cut(g: GraphBuilder, logits: Value, settings: Value) -> Value:
    top_k = g.input("row_top_k", (S,), "int32")
    cuts = g.input("row_cuts", (S, 2), "float32")
    return g.one(
        "truncate_logits", logits, settings, g.input("row_seat", (S,), "int32"), top_k, cuts
    )


def _shaped(g: GraphBuilder, logits: Value, vocab_size: int) -> Value:
    masks = g.input("logit_masks", (A, words_for(vocab_size)), "uint32")
    mask = g.one("gather_rows", masks, g.input("row_mask", (S,), "int32"))
    logits = g.one("mask_logits", logits, mask)
    ids, values = g.input("bias_ids", (S, B), "int32"), g.input("bias_values", (S, B), "float32")
    logits = g.one("bias_logits", logits, ids, values)
    last = g.one("gather_rows", tokens(g), g.input("rows", (S,), "int32"))
    return g.one(
        "penalise_logits",
        logits,
        g.input("history", (S, H), "int32"),
        g.input("history_spans", (S, 2), "int32"),
        last,
        g.input("row_penalties", (S, 3), "float32"),
    )
