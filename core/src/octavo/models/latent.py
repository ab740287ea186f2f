"""Attention whose heads share one latent for each position, by its spec's data.

    h ─> latent | rotary key ─norm, turn─> one row for each slot
    h ─(─> compressed ─norm)─> queries, plain and turned ─latent_attention─> o_proj

Keys and values are made of latents by one weight, or queries brought to latents: the kernel's
choice. Source: arXiv 2405.04434 section 2.1.

Knows no family, and nothing of what stands behind attention.
"""

from __future__ import annotations

from octavo.graph.builder import GraphBuilder
from octavo.models.decoder import Context
from octavo.models.spec import DecoderSpec, LatentSpec
from octavo_platforms.graph import Value
from octavo_platforms.program import Plane
from octavo_platforms.tensor import DType


def planes(spec: DecoderSpec, dtype: DType) -> tuple[Plane, ...] | None:
    """Give what a slot holds: a latent and a key; None for a spec without latents."""
    own = spec.latent
    if own is None:
        return None
    return (Plane("latent", (own.rank + own.turned_width,), dtype, ("C",)),)


def attention(g: GraphBuilder, h: Value, context: Context, index: int) -> Value:
    """Write attention: project, turn, write the latent and its key, attend, project back."""
    spec, own = context.spec, context.spec.latent
    assert own is not None, "the spec of a family with latents has one"
    with g.scope("self_attn"):
        plain, turned = _queries(g, h, context, own)
        sizes = (own.rank, own.turned_width)
        compressed = g.linear(h, "kv_a_proj_with_mqa", sum(sizes), bias=spec.attention_bias)
        latent, key = g.op("split", compressed, sizes=sizes)
        latent = g.rms_norm(latent, "kv_a_layernorm", eps=own.eps)
        key = _turned(g, g.one("heads", key, width=own.turned_width), context)
        kv = g.state(context.kv, index)
        g.op("latent_write", latent, g.one("flatten", key), context.slots, kv)
        rows = spec.heads * (own.plain_width + own.value_width)
        weight = g.weight(g.place("kv_b_proj.weight"), (rows, own.rank))
        causes = (context.query_starts, context.computed, context.block_table, kv)
        attended = g.one(
            "latent_attention",
            plain,
            turned,
            weight,
            *causes,
            scale=own.scale,
            lengths=context.lengths,
        )
        return g.linear(g.one("flatten", attended), "o_proj", spec.width, bias=spec.output_bias)


def _queries(g: GraphBuilder, h: Value, context: Context, own: LatentSpec) -> tuple[Value, Value]:
    """Write queries: their plain part, and the part that is turned."""
    spec, name = context.spec, "q_proj"
    if own.query_rank is not None:
        compressed = g.linear(h, "q_a_proj", own.query_rank, bias=spec.attention_bias)
        h, name = g.rms_norm(compressed, "q_a_layernorm", eps=own.eps), "q_b_proj"
    sizes = (own.plain_width, own.turned_width)
    q = g.one("heads", g.linear(h, name, spec.heads * sum(sizes)), width=sum(sizes))
    plain, turned = g.op("split", q, sizes=sizes)
    return plain, _turned(g, turned, context)


def _turned(g: GraphBuilder, x: Value, context: Context) -> Value:
    return g.one("rotary", x, context.rope_table, interleaved=context.spec.is_interleaved)
