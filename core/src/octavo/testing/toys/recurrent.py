"""A hybrid: a layer whose state is overwritten as it goes, behind it one that attends.

It proves that a request may carry a state beside its blocks, in rows of its own, and that such a
state goes back where drafts were wrong: `layer` takes the number of rows a request has. The entry
`copy` makes rows what others are. The first layer is Mamba-2's, in small: a projection cut
in three, a convolution, a scan, a gate and a norm. `alone` has nothing but such layers, and so no
blocks.
Source: arXiv 2405.21060 section 7.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from octavo.graph.builder import GraphBuilder
from octavo.graph.passes.copies import with_copies
from octavo.models import dense
from octavo.models.decoder import Context, Layer, Limits, R, generator
from octavo.models.rope import NO_ROPE
from octavo.models.spec import DecoderSpec
from octavo_platforms.graph import Value
from octavo_platforms.program import Plane, ProgramDef, StateSpec
from octavo_platforms.tensor import DType

GROUP = "memory"
HEADS, WIDTH, GROUPS, NUMBERS, TAPS = 4, 8, 2, 6, 4
INNER, SHARED = HEADS * WIDTH, GROUPS * NUMBERS
MIXED = INNER + 2 * SHARED
MOST_COPIES = 4


def memory(dtype: DType, *, ring: int, layers: int = 1) -> StateSpec:
    """Give the state of the layers that do not attend."""
    conv = Plane("conv", (TAPS - 1, MIXED), dtype, ("W", "C"))
    ssm = Plane("ssm", (HEADS, WIDTH, NUMBERS), "float32", ("H", "D", "N"))
    return StateSpec(GROUP, "recurrent", (conv, ssm), layers=layers, ring=ring)


def layer(*, ring: int = 1, dtype: DType = "float32") -> Layer:
    """Give the layers: the first one mixes, the others are a Llama's."""
    return partial(_layer, memory(dtype, ring=ring))


def _layer(own: StateSpec, g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
    if index >= own.layers:
        return dense.layer(g, x, context, index)
    h = g.rms_norm(x, "input_layernorm", eps=context.spec.eps)
    with g.scope("mixer"):
        return g.one("add", mixer(g, h, context, own, index), x)


def mixer(g: GraphBuilder, h: Value, context: Context, own: StateSpec, index: int) -> Value:
    """Write rows through the mixer."""
    rings = g.input(f"state_rows.{own.name}", (R, own.ring), "int32")
    rows = g.op("ring_rows", context.query_starts, context.computed, rings)
    causes = (context.query_starts, *rows, g.state(own, index))
    gate, mixed, steps = g.op(
        "split", g.linear(h, "in_proj", INNER + MIXED + HEADS), sizes=(INNER, MIXED, HEADS)
    )
    taps = g.weight(g.place("conv.weight"), (MIXED, TAPS))
    bias = g.weight(g.place("conv.bias"), (MIXED,))
    mixed = g.one("silu", g.one("causal_conv", mixed, taps, *causes, bias, plane="conv"))
    x, b, c = g.op("split", mixed, sizes=(INNER, SHARED, SHARED))
    dt_bias, a_log, d = (g.weight(g.place(name), (HEADS,)) for name in ("dt_bias", "A_log", "D"))
    steps = g.one("time_steps", steps, dt_bias, low=0.0, high=None)
    x = g.one("heads", x, width=WIDTH)
    b, c = (g.one("heads", each, width=NUMBERS) for each in (b, c))
    y = g.one("selective_scan", x, steps, a_log, b, c, d, *causes, plane="ssm")
    y = g.one("mul", g.one("flatten", y), g.one("silu", gate))
    return g.linear(g.rms_norm(y, "norm", eps=context.spec.eps), "out_proj", context.spec.width)


def program(toy: DecoderSpec, *, limits: Limits, dtype: DType = "float32") -> ProgramDef:
    """Write the toy, as yet without passes but the one that adds `copy`."""
    written = generator(toy, layer(dtype=dtype), dtype=dtype, limits=limits)
    return with_copies(written, most=MOST_COPIES)


def alone(toy: DecoderSpec, *, limits: Limits, dtype: DType = "float32") -> ProgramDef:
    """Write the toy with mixers in all layers."""
    own = memory(dtype, ring=1, layers=toy.layers)
    only = replace(toy, attending=(), rope=NO_ROPE)
    written = generator(only, partial(_layer, own), dtype=dtype, limits=limits)
    return with_copies(written, most=MOST_COPIES)
