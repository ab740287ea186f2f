"""An encoder, and a decoder whose every layer looks at its rows: the shape of T5 and Whisper.

    encode   whole sources to rows, and these, once, to keys and values of the group `cross`
    forward  some tokens of each context; each sees all rows of its own source
    sample   logits to tokens

It proves that a state can be written by one entry and read by another, with block tables and
lengths of its own: `block_table.cross`, whose width is the symbol C, and `lengths.cross`.
"""

from __future__ import annotations

from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo.models import dense
from octavo.models.choosing import sample
from octavo.models.decoder import Context, Limits, R, T, forward
from octavo.models.spec import DecoderSpec
from octavo.testing.toys.pooled import encoded
from octavo_platforms.graph import Dim, Value
from octavo_platforms.program import Plane, ProgramDef, StateSpec, Symbol
from octavo_platforms.tensor import DType

ENCODE = "encode"
GROUP = "cross"
MAX_SOURCE_BLOCKS = 5
C = Dim("C")


def program(toy: DecoderSpec, *, limits: Limits, dtype: DType = "float32") -> ProgramDef:
    """Write the toy, as yet without passes."""
    row = (toy.kv_heads, toy.head_width)
    planes = (Plane("k", row, dtype), Plane("v", row, dtype))
    source = StateSpec(GROUP, "cross", planes, toy.layers, limits.block_size)

    def layer(g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
        h = g.rms_norm(x, "input_layernorm", eps=toy.eps)
        x = g.one("add", dense.attention(g, h, context, index), x)
        h = g.rms_norm(x, "cross_layernorm", eps=toy.eps)
        x = g.one("add", _cross_attention(g, h, context, source, index), x)
        h = g.rms_norm(x, "post_attention_layernorm", eps=toy.eps)
        return g.one("add", dense.mlp(g, h, context), x)

    symbols = (*limits.symbols(), Symbol("C", MAX_SOURCE_BLOCKS))
    made = ProgramBuilder("cross", dtype=dtype, symbols=symbols)
    _encode(made.entry(ENCODE), toy, source)
    forward(made.entry("forward"), toy, layer, dtype=dtype, limits=limits)
    sample(made.entry("sample"), toy.vocab_size, dtype=dtype)
    return made.finish()


def _encode(g: GraphBuilder, toy: DecoderSpec, source: StateSpec) -> None:
    ids, starts = (
        g.input("token_ids", (T,), "int32"),
        g.input("query_starts", (Dim("R", plus=1),), "int32"),
    )
    positions = g.one("positions", ids, starts, g.input("computed", (R,), "int32"))
    table = g.input(f"block_table.{GROUP}", (R, C), "int32")
    slots = g.one("slots", positions, starts, table, block_size=source.block_size)
    with g.scope("encoder"):
        embeddings = g.weight("encoder.embed_tokens.weight", (toy.vocab_size, toy.width))
        x = encoded(g, g.one("embedding", embeddings, ids), toy, starts, positions)
    for index in range(toy.layers):
        with g.scope(f"model.layers.{index}.cross_attn"):
            rows = (g.linear(x, name, toy.kv_heads * toy.head_width) for name in ("k", "v"))
            k, v = (g.one("heads", each, width=toy.head_width) for each in rows)
            g.op("kv_write", k, v, slots, g.state(source, index))


def _cross_attention(
    g: GraphBuilder, h: Value, context: Context, source: StateSpec, index: int
) -> Value:
    toy = context.spec
    lengths = g.input(f"lengths.{GROUP}", (R,), "int32")
    table = g.input(f"block_table.{GROUP}", (R, C), "int32")
    with g.scope("cross_attn"):
        q = g.one("heads", g.linear(h, "q", toy.heads * toy.head_width), width=toy.head_width)
        causes = (context.query_starts, lengths, table, g.state(source, index))
        attrs = {"scale": toy.head_width**-0.5, "num_kv_heads": toy.kv_heads}
        attended = g.one("cross_attention", q, *causes, **attrs)
        return g.linear(g.one("flatten", attended), "o", toy.width)
