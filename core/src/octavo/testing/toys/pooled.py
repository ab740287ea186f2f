"""An encoder: attention both ways, no state, no sampling; each prompt becomes one row.

Its one entry, `pool`, proves that a model need not generate: it is launched like any other,
with no state group. A prompt has to be in one step as a whole.
"""

from __future__ import annotations

from typing import Literal

from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo.models.decoder import Limits
from octavo.models.spec import DecoderSpec
from octavo_platforms.graph import Dim, Value
from octavo_platforms.program import ProgramDef
from octavo_platforms.tensor import DType, host

Pooling = Literal["mean", "last"]
ENTRY = "pool"
T, R, S = (Dim(symbol) for symbol in "TRS")


def program(
    toy: DecoderSpec, *, pooling: Pooling, limits: Limits, dtype: DType = "float32"
) -> ProgramDef:
    """Write the toy, as yet without passes; `last` takes the rows that a launch names."""
    made = ProgramBuilder("pooled", dtype=dtype, symbols=limits.symbols())
    g = made.entry(ENTRY)
    token_ids = g.input("token_ids", (T,), "int32")
    starts = g.input("query_starts", (Dim("R", plus=1),), "int32")
    positions = g.one("positions", token_ids, starts, g.input("computed", (R,), "int32"))
    x = g.one("embedding", g.weight("embed_tokens.weight", (toy.vocab_size, toy.width)), token_ids)
    x = encoded(g, x, toy, starts, positions)
    if pooling == "mean":
        g.output("pooled", g.one("mean_rows", x, starts))
    else:
        g.output("pooled", g.one("gather_rows", x, g.input("rows", (S,), "int32")))
    return made.finish()


def encoded(g: GraphBuilder, x: Value, toy: DecoderSpec, starts: Value, positions: Value) -> Value:
    """Write rows through layers that look both ways, and a norm."""
    frequencies = g.literal("rope.frequencies", host(toy.rope.array()))
    table = g.one("rope_table", positions, frequencies, factor=toy.rope.factor)
    for index in range(toy.layers):
        with g.scope(f"layers.{index}"):
            h = g.rms_norm(x, "attention_norm", eps=toy.eps)
            x = g.one("add", _attention(g, h, toy, starts, table), x)
            h = g.rms_norm(x, "mlp_norm", eps=toy.eps)
            up = g.one("silu", g.linear(h, "up", toy.ffn_width))
            x = g.one("add", g.linear(up, "down", toy.width), x)
    return g.rms_norm(x, "norm", eps=toy.eps)


def _attention(g: GraphBuilder, h: Value, toy: DecoderSpec, starts: Value, table: Value) -> Value:
    width = toy.head_width
    q = g.linear(h, "q", toy.heads * width)
    k, v = (g.linear(h, name, toy.kv_heads * width) for name in "kv")
    q, k, v = (g.one("heads", each, width=width) for each in (q, k, v))
    q, k = (g.one("rotary", each, table, interleaved=False) for each in (q, k))
    attrs = {"scale": width**-0.5, "num_kv_heads": toy.kv_heads}
    attended = g.one("encoder_attention", q, k, v, starts, **attrs)
    return g.linear(g.one("flatten", attended), "o", toy.width)
