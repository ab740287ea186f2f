"""A Llama that keeps its tokens and lengths on the device, and checks drafts there.

    step     some tokens of each request's context, and one chosen for each request
    verify   the same, the last tokens being drafts, and one chosen after each of these
    propose  sets what the drafter will say

The first two leave, for each seat, the last token, the next drafts, and how much is computed,
so that a launch can follow which the host makes without having read the one before:
`token_from` 1 is the last token, 2 and more are the drafts. The drafter is a table of tokens
by the number of computed positions. It stands for any: what matters is that nobody on the
host sees what it says.

Knows nothing of scheduling.
"""

from __future__ import annotations

from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo.models import llama
from octavo.models.decoder import Limits, N, R, T, head, hidden, sampling
from octavo.models.spec import DecoderSpec
from octavo_platforms.graph import Dim, Value
from octavo_platforms.program import ProgramDef

NUM_DRAFTS = 2


def program(toy: DecoderSpec, *, limits: Limits) -> ProgramDef:
    """Write the toy in float32, as yet without passes."""
    made = ProgramBuilder("draft", dtype="float32", symbols=limits.symbols())
    for name, width in (("step", 1), ("verify", 1 + NUM_DRAFTS)):
        _entry(made.entry(name), toy, limits, width=width)
    g = made.entry("propose")
    size = limits.max_blocks * limits.block_size
    at = g.input("at", (size,), "int32")
    for draft, table in enumerate(_proposals(g, limits), 1):
        g.op("scatter_rows", table, at, g.input(f"draft.{draft}", (size,), "int32"))
    return made.finish()


def _entry(g: GraphBuilder, toy: DecoderSpec, limits: Limits, *, width: int) -> None:
    starts = g.input("query_starts", (Dim("R", plus=1),), "int32")
    seat, given, source, num_drafts = (
        g.input(name, (R,), "int32") for name in ("seat", "computed", "computed_from", "num_drafts")
    )
    length = g.buffer("seat.length", (N,), "int32")
    computed = g.one("pick", given, source, seat, length)
    known = [g.buffer(f"seat.token.{k}", (N,), "int32") for k in range(1, 2 + NUM_DRAFTS)]
    given, source = (g.input(name, (T,), "int32") for name in ("token_ids", "token_from"))
    seats = g.one("gather_rows", seat, g.one("owners", given, starts))
    tokens = g.one("pick", given, source, seats, *known)
    x = hidden(
        g, toy, llama.layer, tokens, computed, dtype="float32", limits=limits, lengths="device"
    )
    rows = g.one("draft_rows", starts, num_drafts, width=width)
    positions = g.one("gather_rows", g.one("positions", tokens, starts, computed), rows)
    row_seats = g.one("gather_rows", seats, rows)
    chosen = g.one("sample", head(g, toy, x, rows), sampling(g), row_seats, positions)
    made, num_tokens, last, now = g.op(
        "accept", tokens, chosen, starts, num_drafts, computed, width=width
    )
    drafts = [g.one("gather_rows", table, now) for table in _proposals(g, limits)]
    for buffer, values in zip((length, *known), (now, last, *drafts), strict=True):
        g.op("scatter_rows", buffer, seat, values)
    g.output("tokens", made)
    g.output("num_tokens", num_tokens)


def _proposals(g: GraphBuilder, limits: Limits) -> list[Value]:
    most = limits.max_blocks * limits.block_size
    return [g.buffer(f"proposals.{k}", (most,), "int32") for k in range(1, 1 + NUM_DRAFTS)]
