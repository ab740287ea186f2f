"""Layers that remember in place of attention, by their spec's data.

    mamba1   h ─> mixed | gate      mixed ─conv─silu─> x ─> steps | B | C; x ─scan─> * gate
    mamba2   h ─> gate | mixed | steps      mixed ─conv─silu─> x | B | C ─scan─> * gate, norm
    delta    h ─> mixed, gate, beta, steps  mixed ─conv─silu─> q | k | v ─delta─> norm, * gate

Source: arXiv 2312.00752 section 3.4, 2405.21060 section 7 and 2412.06464. Knows no family, and
nothing of what stands around such a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from octavo.graph.builder import GraphBuilder
from octavo.models.decoder import Context, Layer
from octavo.models.memory import MemorySpec
from octavo_platforms.graph import Attr, Value
from octavo_platforms.tensor import cast, host


def mixer(g: GraphBuilder, h: Value, context: Context, index: int) -> Value:
    """Write a mixer of the kind that the spec says."""
    memory = context.spec.memory
    assert memory is not None, "the spec of a family with mixers has a memory"
    return WRITERS[memory.kind](g, h, context, index)


def mamba1(g: GraphBuilder, h: Value, context: Context, index: int) -> Value:
    """Write a Mamba mixer."""
    own, causes = _found(g, context, index)
    projected = g.linear(h, "in_proj", 2 * own.inner, bias=own.has_bias)
    mixed, gate = g.op("split", projected, sizes=(own.inner, own.inner))
    mixed = _mixed(g, mixed, own.inner, own, causes)
    made = g.linear(mixed, "x_proj", own.rank + 2 * own.numbers)
    steps, b, c = g.op("split", made, sizes=(own.rank, own.numbers, own.numbers))
    steps, b, c = (
        _part_normed(g, each, f"{name}_layernorm", own)
        for name, each in (("dt", steps), ("b", b), ("c", c))
    )
    steps = _steps(g, g.linear(steps, "dt_proj", own.inner), own)
    a_log = g.weight(g.place("A_log.weight"), (own.inner, own.numbers), dtype="float32")
    d = _number(g, "D", own.heads)
    x = g.one("heads", mixed, width=own.width)
    b, c = (g.one("heads", each, width=own.numbers) for each in (b, c))
    y = g.one("flatten", g.one("selective_scan", x, steps, a_log, b, c, d, *causes, plane="ssm"))
    y = g.one("mul", y, g.one("silu", gate))
    return g.linear(y, "out_proj", context.spec.width, bias=own.has_bias)


def mamba2(g: GraphBuilder, h: Value, context: Context, index: int) -> Value:
    """Write a Mamba-2 mixer."""
    own, causes = _found(g, context, index)
    projected = g.linear(h, "in_proj", own.inner + own.mixed + own.heads, bias=own.has_bias)
    if own.scales:
        gate, x, b, c, steps = _scaled(g, projected, own)
        x, b, c = (
            _mixed(g, each, width, own, causes, name=name)
            for each, (name, width) in zip((x, b, c), own.parts, strict=True)
        )
    else:
        gate, mixed, steps = g.op("split", projected, sizes=(own.inner, own.mixed, own.heads))
        mixed = _mixed(g, mixed, own.mixed, own, causes)
        x, b, c = g.op("split", mixed, sizes=(own.inner, own.shared, own.shared))
    a_log, d = (_number(g, name, own.heads) for name in ("A_log", "D"))
    x = g.one("heads", x, width=own.width)
    b, c = (g.one("heads", each, width=own.numbers) for each in (b, c))
    steps = _steps(g, steps, own)
    y = g.one("flatten", g.one("selective_scan", x, steps, a_log, b, c, d, *causes, plane="ssm"))
    y = _gated(g, y, g.one("silu", gate), own)
    return g.linear(y, "out_proj", context.spec.width, bias=own.has_bias)


def delta(g: GraphBuilder, h: Value, context: Context, index: int) -> Value:
    """Write a mixer by the gated delta rule."""
    own, causes = _found(g, context, index)
    mixed = _mixed(g, g.linear(h, "mixed", own.mixed), own.mixed, own, causes)
    gate = g.linear(h, "gate", own.inner)
    beta, steps = (g.linear(h, name, own.heads) for name in ("beta", "steps"))
    q, k, v = g.op("split", mixed, sizes=(own.shared, own.shared, own.inner))
    q, k = (g.one("heads", each, width=own.numbers) for each in (q, k))
    v = g.one("heads", v, width=own.width)
    steps, beta = _steps(g, steps, own), g.one("sigmoid", beta)
    attrs: dict[str, Attr] = {"plane": "delta", "scale": own.numbers**-0.5, "eps": 1e-6}
    a_log = _number(g, "A_log", own.heads)
    y = g.one("gated_delta", q, k, v, steps, a_log, beta, *causes, **attrs)
    y = g.one("flatten", g.rms_norm(y, "norm", eps=own.eps))
    return g.linear(g.one("mul", y, g.one("silu", gate)), "out_proj", context.spec.width)


def _found(g: GraphBuilder, context: Context, index: int) -> tuple[MemorySpec, tuple[Value, ...]]:
    """Give the spec, and what every mixer reads behind its own operands."""
    own, memory = context.spec.memory, context.memory
    assert own is not None, "the spec of a family with mixers has a memory"
    assert memory is not None, "a context has what its spec has"
    state = g.state(memory.state, own.layers.index(index))
    return own, (context.query_starts, memory.source, memory.targets, state)


def _part_normed(g: GraphBuilder, x: Value, name: str, own: MemorySpec) -> Value:
    """Normalise the steps of mamba1, its B or its C, where the spec says so."""
    if own.norms is None:
        return x
    if own.norms == "weighted":
        return g.rms_norm(x, name, eps=own.eps)
    ones = np.ones(g.width(x), np.float32)
    weight = g.literal(f"ones.{len(ones)}", cast(host(ones), g.type_of(x).dtype))
    return g.one("rms_norm", x, weight, eps=own.eps)


def _scaled(g: GraphBuilder, projected: Value, own: MemorySpec) -> tuple[Value, ...]:
    """Cut what was projected in five, each multiplied by its number."""
    sizes = (own.inner, own.inner, own.shared, own.shared, own.heads)
    parts = zip(g.op("split", projected, sizes=sizes), own.scales, strict=True)
    return tuple(g.one("scale", each, factor=factor) for each, factor in parts)


def _mixed(
    g: GraphBuilder,
    x: Value,
    width: int,
    own: MemorySpec,
    causes: tuple[Value, ...],
    *,
    name: str = "",
) -> Value:
    """Mix each channel with its values before, in the plane of that name."""
    with g.scope(f"conv1d.{name}" if name else "conv1d"):
        taps = g.weight(g.place("weight"), (width, own.taps))
        bias = [g.weight(g.place("bias"), (width,))] if own.has_conv_bias else []
        found = g.one("causal_conv", x, taps, *causes, *bias, plane=f"conv{name}")
        return g.one("silu", found)


def _steps(g: GraphBuilder, x: Value, own: MemorySpec) -> Value:
    return g.one("time_steps", x, _number(g, "dt", own.heads), low=own.low, high=own.high)


def _number(g: GraphBuilder, name: str, count: int) -> Value:
    """Declare a number for each head, as exact as the checkpoint has it."""
    suffix = "bias" if name == "dt" else "weight"
    return g.weight(g.place(f"{name}.{suffix}"), (count,), dtype="float32")


def _gated(g: GraphBuilder, y: Value, gate: Value, own: MemorySpec) -> Value:
    if own.gate == "outside":
        return g.one("mul", _normed(g, y, own), gate)
    y = g.one("mul", y, gate)
    return _normed(g, y, own) if own.gate == "inside" else y


def _normed(g: GraphBuilder, y: Value, own: MemorySpec) -> Value:
    """Normalise the features of each shared head's heads together."""
    width = own.inner // own.shared_heads
    with g.scope("norm"):
        weight = g.weight(g.place("weight"), (own.shared_heads, width))
        rows = g.one("heads", y, width=width)
        return g.one("flatten", g.one("rms_norm", rows, weight, eps=own.eps))


WRITERS: Mapping[str, Layer] = MappingProxyType(
    {"mamba1": mamba1, "mamba2": mamba2, "delta": delta}
)
