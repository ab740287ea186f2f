"""A decoder whose heads share one latent for each position: DeepSeek's attention, in small.

It proves that a state need not hold keys and values: its one plane has one axis. The queries of
the first layer are compressed too, as in the larger models of that family.
Source: arXiv 2405.04434 section 2.1 and appendix C.
"""

from __future__ import annotations

from dataclasses import replace

from octavo.graph.builder import GraphBuilder
from octavo.models import dense
from octavo.models.decoder import Context, Limits, generator
from octavo.models.rope import RopeSpec
from octavo.models.spec import DecoderSpec
from octavo_platforms.graph import Value
from octavo_platforms.program import Plane, ProgramDef
from octavo_platforms.tensor import DType

Q_RANK, RANK = 20, 12
PLAIN, ROPE, VALUE = 8, 4, 6


def layer(g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
    """Write one decoder layer."""
    spec = context.spec
    h = g.rms_norm(x, "input_layernorm", eps=spec.eps)
    x = g.one("add", attention(g, h, context, index), x)
    h = g.rms_norm(x, "post_attention_layernorm", eps=spec.eps)
    return g.one("add", dense.mlp(g, h, context), x)


def attention(g: GraphBuilder, h: Value, context: Context, index: int) -> Value:
    """Write attention: project, turn, write the latent and its key, attend, project back."""
    spec, table = context.spec, context.rope_table
    with g.scope("self_attn"):
        plain, turned = queries(g, h, context, is_compressed=index == 0)
        compressed = g.linear(h, "kv_a_proj_with_mqa", RANK + ROPE)
        latent, key = g.op("split", compressed, sizes=(RANK, ROPE))
        latent = g.rms_norm(latent, "kv_a_layernorm", eps=spec.eps)
        key = g.one("rotary", g.one("heads", key, width=ROPE), table, interleaved=True)
        kv = g.state(context.kv, index)
        g.op("latent_write", latent, g.one("flatten", key), context.slots, kv)
        weight = g.weight(g.place("kv_b_proj.weight"), (spec.heads * (PLAIN + VALUE), RANK))
        causes = (context.query_starts, context.computed, context.block_table, kv)
        attrs = {"scale": (PLAIN + ROPE) ** -0.5, "lengths": context.lengths}
        attended = g.one("latent_attention", plain, turned, weight, *causes, **attrs)
        return g.linear(g.one("flatten", attended), "o_proj", spec.width)


def queries(
    g: GraphBuilder, h: Value, context: Context, *, is_compressed: bool
) -> tuple[Value, Value]:
    """Write queries: their plain part, and the part that is turned."""
    spec, name = context.spec, "q_proj"
    if is_compressed:
        h = g.rms_norm(g.linear(h, "q_a_proj", Q_RANK), "q_a_layernorm", eps=spec.eps)
        name = "q_b_proj"
    q = g.one("heads", g.linear(h, name, spec.heads * (PLAIN + ROPE)), width=PLAIN + ROPE)
    plain, turned = g.op("split", q, sizes=(PLAIN, ROPE))
    return plain, g.one("rotary", turned, context.rope_table, interleaved=True)


def program(toy: DecoderSpec, *, limits: Limits, dtype: DType = "float32") -> ProgramDef:
    """Write the toy, as yet without passes."""
    rope = RopeSpec(toy.rope.frequencies[: ROPE // 2], toy.rope.factor)
    planes = (Plane("latent", (RANK + ROPE,), dtype, ("C",)),)
    own = replace(toy, rope=rope)
    return generator(own, layer, dtype=dtype, limits=limits, planes=planes)
