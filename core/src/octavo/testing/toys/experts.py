"""A Llama whose feed-forward part is a mixture of experts: two of five for each token.

It proves that a ragged thing needs no ragged shape. Source: arXiv 2401.04088.
"""

from __future__ import annotations

from octavo.graph.builder import GraphBuilder
from octavo.models import dense
from octavo.models.decoder import Context, Limits, generator
from octavo.models.spec import DecoderSpec
from octavo_platforms.graph import Value
from octavo_platforms.program import ProgramDef
from octavo_platforms.tensor import DType

NUM_EXPERTS = 5
TOP_K = 2


def layer(g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
    """Write one decoder layer."""
    spec = context.spec
    h = g.rms_norm(x, "input_layernorm", eps=spec.eps)
    x = g.one("add", dense.attention(g, h, context, index), x)
    h = g.rms_norm(x, "post_attention_layernorm", eps=spec.eps)
    return g.one("add", mixture(g, h, context), x)


def mixture(g: GraphBuilder, h: Value, context: Context) -> Value:
    """Write the experts: choose, group, multiply up, gate, multiply down, combine."""
    spec = context.spec
    with g.scope("mlp"):
        logits = g.linear(h, "gate", NUM_EXPERTS)
        ids, weights = g.op("route", logits, top_k=TOP_K, renormalise=True)
        rows, places, counts = g.op(
            "group_rows", ids, context.query_starts, num_experts=NUM_EXPERTS
        )
        x = g.one("gather_rows", h, rows)
        with g.scope("experts"):
            up = g.weight(g.place("gate_up"), (NUM_EXPERTS, 2 * spec.ffn_width, spec.width))
            down = g.weight(g.place("down"), (NUM_EXPERTS, spec.width, spec.ffn_width))
            x = g.one("silu_gate", g.one("grouped_linear", x, up, counts))
            x = g.one("grouped_linear", x, down, counts)
        return g.one("combine", x, places, weights)


def program(toy: DecoderSpec, *, limits: Limits, dtype: DType = "float32") -> ProgramDef:
    """Write the toy, as yet without passes."""
    return generator(toy, layer, dtype=dtype, limits=limits)
