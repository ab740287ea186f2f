"""What toys with drafts share: a step whose last tokens may be drafts, checked on the device.

A seat keeps its length in `seat.length`, the last token in `seat.token.1` and the next drafts
behind it; who makes these is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass

from octavo.graph.builder import GraphBuilder
from octavo.models import dense
from octavo.models.choosing import sampling
from octavo.models.decoder import Layer, Limits, N, R, T, head, hidden
from octavo.models.spec import DecoderSpec
from octavo_platforms.graph import Dim, Value

NUM_DRAFTS = 2
WIDTH, STARTS = 1 + NUM_DRAFTS, Dim("R", plus=1)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check made on the way: how much was computed before and is now, and its choices."""

    computed: Value
    now: Value
    chosen: Value


def checked(
    g: GraphBuilder, toy: DecoderSpec, limits: Limits, *, width: int, layer: Layer = dense.layer
) -> Checked:
    """Write a step's tokens to what is chosen after them, and keep the last and the length."""
    starts = g.input("query_starts", (STARTS,), "int32")
    seat, given, source, num_drafts = (
        g.input(name, (R,), "int32") for name in ("seat", "computed", "computed_from", "num_drafts")
    )
    computed = g.one("pick", given, source, seat, g.buffer("seat.length", (N,), "int32"))
    known = [g.buffer(f"seat.token.{k}", (N,), "int32") for k in range(1, 1 + WIDTH)]
    given, source = (g.input(name, (T,), "int32") for name in ("token_ids", "token_from"))
    seats = g.one("gather_rows", seat, g.one("owners", given, starts))
    tokens = g.one("pick", given, source, seats, *known)
    x = hidden(g, toy, layer, tokens, computed, dtype="float32", limits=limits, lengths="device")
    rows = g.one("draft_rows", starts, num_drafts, width=width)
    positions = g.one("gather_rows", g.one("positions", tokens, starts, computed), rows)
    row_seats = g.one("gather_rows", seats, rows)
    chosen = g.one("sample", head(g, toy, x, rows), sampling(g), row_seats, positions)
    made, num_tokens, last, now = g.op(
        "accept", tokens, chosen, starts, num_drafts, computed, width=width
    )
    keep(g, "seat.length", now)
    keep(g, "seat.token.1", last)
    g.output("tokens", made)
    g.output("num_tokens", num_tokens)
    return Checked(computed, now, chosen)


def keep(g: GraphBuilder, name: str, values: Value) -> None:
    """Write what each seat keeps under a name. Shapes: values int32 [R]."""
    g.op("scatter_rows", g.buffer(name, (N,), "int32"), g.input("seat", (R,), "int32"), values)
