"""A Llama whose choice is launched apart from its logits, so that what it needs may come late.

    forward        tokens, or the last that seats keep, to logits, which stay on the device
    sample         logits to tokens, which seats keep
    sample_masked  the same among the ids that a mask allows, which follows from the token before
    score          tokens to logits, and how likely given ids are after given tokens

The next `forward` needs the token that seats keep and not the mask that it led to, so it is
launched before the host has read the token and made the mask. Every request has one row.

Knows nothing of grammars.
"""

from __future__ import annotations

from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo.models import dense
from octavo.models.choosing import last_tokens, sampling, tokens
from octavo.models.decoder import Limits, R, T, head, hidden
from octavo.models.spec import DecoderSpec
from octavo_platforms.graph import Dim, Value
from octavo_platforms.ops.scores import words_for
from octavo_platforms.program import ProgramDef, Symbol

MAX_SCORES = 8
Q = Dim("Q")


def program(toy: DecoderSpec, *, limits: Limits) -> ProgramDef:
    """Write the toy in float32, as yet without passes."""
    symbols = (*limits.symbols(), Symbol("Q", MAX_SCORES))
    made = ProgramBuilder("late", dtype="float32", symbols=symbols)
    for name in ("forward", "score"):
        g = made.entry(name)
        x = _rows(g, toy, limits)
        g.output("logits", head(g, toy, x, _last(g)))
        if name == "score":
            rows, ids = (g.input(each, (Q,), "int32") for each in ("score_rows", "score_ids"))
            logprob, rank = g.op("score", head(g, toy, x, rows), ids)
            g.output("logprob", logprob)
            g.output("rank", rank)
    for name in ("sample", "sample_masked"):
        _choice(made.entry(name), toy.vocab_size, is_masked=name == "sample_masked")
    return made.finish()


def _rows(g: GraphBuilder, toy: DecoderSpec, limits: Limits) -> Value:
    computed = g.input("computed", (R,), "int32")
    return hidden(g, toy, dense.layer, tokens(g), computed, dtype="float32", limits=limits)


def _last(g: GraphBuilder) -> Value:
    starts = g.input("query_starts", (Dim("R", plus=1),), "int32")
    return g.one("draft_rows", starts, g.input("num_drafts", (R,), "int32"), width=1)


def _choice(g: GraphBuilder, vocab_size: int, *, is_masked: bool) -> None:
    logits = g.input("logits", (R, vocab_size), "float32")
    if is_masked:
        mask = g.input("logit_mask", (R, words_for(vocab_size)), "uint32")
        logits = g.one("mask_logits", logits, mask)
    starts, computed = (
        g.input("query_starts", (Dim("R", plus=1),), "int32"),
        g.input("computed", (R,), "int32"),
    )
    positions = g.one("positions", g.input("token_ids", (T,), "int32"), starts, computed)
    rows, seat = g.one("gather_rows", positions, _last(g)), g.input("seat", (R,), "int32")
    chosen = g.one("sample", logits, sampling(g), seat, rows)
    g.op("scatter_rows", last_tokens(g), seat, chosen)
    g.output("tokens", chosen)
