"""A Llama with a head that drafts from its hidden rows, as EAGLE does: two drafts for each check.

    verify   as in `draft`; its taps are the rows of a layer, what it chose, what was computed
    draft    these rows, each with the token after it, to the first draft of each seat
    draft.2  the row that made the first draft, with that draft, to the second

The head has a layer and a state group of its own and shares embedding and head with the target.
It draws by the noise that the target will draw by, so that at any temperature it is as often
right as its logits are. Nothing comes back to the host. Source: arXiv 2401.15077.
"""

from __future__ import annotations

import numpy as np

from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo.models import dense
from octavo.models.choosing import sampling
from octavo.models.decoder import Context, Limits, N, R, T, context_of, embedded, head
from octavo.models.spec import DecoderSpec
from octavo.testing.toys.checking import STARTS, WIDTH, checked, keep
from octavo_platforms.graph import Dim, Value
from octavo_platforms.program import Plane, ProgramDef, StateSpec
from octavo_platforms.tensor import host

GROUP, TAPPED = "draft", 1
HIDDEN = f"hidden@layers.{TAPPED}"


def program(toy: DecoderSpec, *, limits: Limits) -> ProgramDef:
    """Write the toy in float32, as yet without passes."""

    def layer(g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
        x = dense.layer(g, x, context, index)
        if index == TAPPED:
            g.output(HIDDEN, x)
        return x

    made = ProgramBuilder("draft_head", dtype="float32", symbols=limits.symbols())
    g = made.entry("verify")
    found = checked(g, toy, limits, width=WIDTH, layer=layer)
    g.output("chosen@verify", found.chosen)
    g.output("computed@verify", found.computed)
    for k, entry in enumerate(("draft", "draft.2"), 1):
        _draft(made.entry(entry), toy, limits, k)
    return made.finish()


def _draft(g: GraphBuilder, toy: DecoderSpec, limits: Limits, k: int) -> None:
    given, starts = g.input("token_ids", (T,), "int32"), g.input("query_starts", (STARTS,), "int32")
    seat, before = (g.input(name, (R,), "int32") for name in ("seat", "before"))
    counts = g.input("num_drafts", (R,), "int32")
    if k == 1:  # every row of the check, up to the last that counts
        source, at = (g.input(name, (T,), "int32") for name in ("token_from", "choice_at"))
        chosen = g.input("chosen", (Dim("R", times=WIDTH),), "int32")
        tokens = g.one("pick", given, source, at, chosen)
        x = g.input("hidden", (T, toy.width), "float32")
        rows = g.one("last_rows", starts, counts, g.input("num_tokens", (R,), "int32"))
        now = g.one("gather_rows", g.buffer("seat.length", (N,), "int32"), seat)
    else:  # one row of each request
        owners = g.one("owners", given, starts)
        seats = g.one("gather_rows", seat, owners)
        tokens = g.one("gather_rows", g.buffer(f"seat.token.{k}", (N,), "int32"), seats)
        x = g.one("gather_rows", g.input("hidden", (R, toy.width), "float32"), owners)
        rows = g.one("draft_rows", starts, counts, width=1)
        ones = g.literal("ones", host(np.ones(limits.max_requests + 1, np.int32)))
        now = g.one("add", before, g.one("gather_rows", ones, seat))
    planes = tuple(Plane(name, (toy.kv_heads, toy.head_width), "float32") for name in "kv")
    state = StateSpec(GROUP, "paged", planes, 1, limits.block_size)
    context = context_of(g, toy, state, before, lengths="device")
    with g.scope("draft"):
        token_rows = g.linear(embedded(g, toy, tokens), "fc.token", toy.width)
        x = g.one("add", g.linear(x, "fc.hidden", toy.width), token_rows)
        x = dense.layer(g, x, context, 0)
    drawn = g.one("sample", head(g, toy, x, rows), sampling(g), seat, now)
    keep(g, f"seat.token.{k + 1}", drawn)
    g.output("hidden@draft", g.one("gather_rows", x, rows))
    g.output("now", now)
    g.output("draft", drawn)
