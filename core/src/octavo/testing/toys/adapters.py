"""A Llama with an adapter per request on its queries and values, in slots that can be refilled.

It proves that weights may change while a compiled program lives: stacks are buffers, the
entry `load_adapter` fills one slot, and the input `adapter_slot` names each request's; 0 is none.
"""

from __future__ import annotations

from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo.models import dense
from octavo.models.choosing import sample
from octavo.models.decoder import Context, Limits, R, forward
from octavo.models.spec import DecoderSpec
from octavo_platforms.graph import Value
from octavo_platforms.program import ProgramDef
from octavo_platforms.tensor import DType

NUM_SLOTS, RANK = 4, 2
LOAD = "load_adapter"
SLOT = "adapter_slot"

Shapes = dict[str, tuple[int, ...]]


def stacks(toy: DecoderSpec) -> Shapes:
    """Give what one adapter consists of, by name, without the axis of slots."""
    widths = {"q": toy.heads * toy.head_width, "v": toy.kv_heads * toy.head_width}
    found: Shapes = {}
    for layer in range(toy.layers):
        for name, width in widths.items():
            found[f"{layer}.{name}.a"] = (RANK, toy.width)
            found[f"{layer}.{name}.b"] = (width, RANK)
    return found


def program(toy: DecoderSpec, *, limits: Limits, dtype: DType = "float32") -> ProgramDef:
    """Write the toy, as yet without passes."""

    def stack(g: GraphBuilder, name: str) -> Value:
        return g.buffer(f"adapters.{name}", (NUM_SLOTS, *stacks(toy)[name]), dtype)

    def layer(g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
        h = g.rms_norm(x, "input_layernorm", eps=toy.eps)
        q_width, kv_width = (heads * toy.head_width for heads in (toy.heads, toy.kv_heads))
        qkv = g.linear(h, "qkv_proj", q_width + 2 * kv_width)
        slots = g.input(SLOT, (R,), "int32")
        for name, first in (("q", 0), ("v", q_width + kv_width)):
            pair = [stack(g, f"{index}.{name}.{part}") for part in "ab"]
            qkv = g.one("lora_delta", qkv, h, *pair, slots, context.query_starts, first=first)
        parts = g.op("split", qkv, sizes=(q_width, kv_width, kv_width))
        q, k, v = (g.one("heads", part, width=toy.head_width) for part in parts)
        q, k = (g.one("rotary", each, context.rope_table, interleaved=False) for each in (q, k))
        kv = g.state(context.kv, index)
        g.op("kv_write", k, v, context.slots, kv)
        causes = (context.query_starts, context.computed, context.block_table, kv)
        attrs = {"scale": toy.head_width**-0.5, "num_kv_heads": toy.kv_heads}
        attended = g.one("flatten", g.one("attention", q, *causes, **attrs))
        x = g.one("add", g.linear(attended, "o_proj", toy.width), x)
        h = g.rms_norm(x, "post_attention_layernorm", eps=toy.eps)
        return g.one("add", dense.mlp(g, h, context), x)

    made = ProgramBuilder("adapters", dtype=dtype, symbols=limits.symbols())
    forward(made.entry("forward"), toy, layer, dtype=dtype, limits=limits)
    sample(made.entry("sample"), toy.vocab_size, dtype=dtype)
    g = made.entry(LOAD)
    slot = g.input("slot", (1,), "int32")
    for name, shape in stacks(toy).items():
        g.op("scatter_rows", stack(g, name), slot, g.input(name, (1, *shape), dtype))
    return made.finish()
