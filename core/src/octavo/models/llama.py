"""Llama 2, Llama 3 and everything shaped like them: SmolLM2 among others.

A layer: norm, grouped-query attention with rotary positions, residual; norm, gated MLP,
residual. Source: arXiv 2302.13971, 2307.09288 and 2407.21783.

Knows nothing of the embedding, the head and sampling (`decoder`).
"""

from __future__ import annotations

from octavo.graph.builder import GraphBuilder
from octavo.models.decoder import Context
from octavo_platforms.graph import Value


def layer(g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
    """Write one decoder layer."""
    spec = context.spec
    h = g.rms_norm(x, "input_layernorm", eps=spec.eps)
    x = g.one("add", attention(g, h, context, index), x)
    h = g.rms_norm(x, "post_attention_layernorm", eps=spec.eps)
    return g.one("add", mlp(g, h, context), x)


def attention(
    g: GraphBuilder, h: Value, context: Context, index: int, *, window: int | None = None
) -> Value:
    """Write attention: project, turn, write the new keys and values, attend, project back.

    Units: `window` is how many tokens are seen, None for all.
    """
    spec, bias = context.spec, context.spec.attention_bias
    with g.scope("self_attn"):
        q = g.linear(h, "q_proj", spec.heads * spec.head_width, bias=bias)
        k = g.linear(h, "k_proj", spec.kv_heads * spec.head_width, bias=bias)
        v = g.linear(h, "v_proj", spec.kv_heads * spec.head_width, bias=bias)
        q, k, v = (g.one("heads", each, width=spec.head_width) for each in (q, k, v))
        q = g.one("rotary", q, context.rope_table, interleaved=False)
        k = g.one("rotary", k, context.rope_table, interleaved=False)
        kv = g.state(context.kv, index)
        g.op("kv_write", k, v, context.slots, kv)
        attended = g.one(
            "attention",
            q,
            context.query_starts,
            context.computed,
            context.block_table,
            kv,
            scale=spec.head_width**-0.5,
            num_kv_heads=spec.kv_heads,
            window=window,
            lengths=context.lengths,
        )
        return g.linear(g.one("flatten", attended), "o_proj", spec.width, bias=bias)


def mlp(g: GraphBuilder, h: Value, context: Context) -> Value:
    """Write the gated feed-forward part."""
    spec, bias = context.spec, context.spec.mlp_bias
    with g.scope("mlp"):
        gate = g.linear(h, "gate_proj", spec.ffn_width, bias=bias)
        up = g.linear(h, "up_proj", spec.ffn_width, bias=bias)
        active = g.one("mul", g.one("silu", gate), up)
        return g.linear(active, "down_proj", spec.width, bias=bias)
