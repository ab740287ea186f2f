"""A Llama whose first layer sees a few tokens back and whose second sees everything.

It proves that how far a layer sees is a matter of its node: as written, both layers share one
state group and one block table. The pass `with_windows` gives the first a group of its own, and
blocks that its window does not reach any more can be given back.
"""

from __future__ import annotations

from octavo.graph.builder import GraphBuilder
from octavo.models import dense
from octavo.models.decoder import Context, Limits, generator
from octavo.models.spec import DecoderSpec
from octavo_platforms.graph import Value
from octavo_platforms.program import ProgramDef
from octavo_platforms.tensor import DType

WINDOW = 5
EVERY = 2


def layer(g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
    """Write one decoder layer; every second one sees everything."""
    spec, window = context.spec, None if index % EVERY else WINDOW
    h = g.rms_norm(x, "input_layernorm", eps=spec.eps)
    x = g.one("add", dense.attention(g, h, context, index, window=window), x)
    h = g.rms_norm(x, "post_attention_layernorm", eps=spec.eps)
    return g.one("add", dense.mlp(g, h, context), x)


def program(toy: DecoderSpec, *, limits: Limits, dtype: DType = "float32") -> ProgramDef:
    """Write the toy, as yet without passes."""
    return generator(toy, layer, dtype=dtype, limits=limits)
