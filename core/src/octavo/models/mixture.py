"""A mixture of experts in place of an MLP, by its spec's data: one writer for every family.

    h ─gate─> logits ─route─> who and how much ─group_rows─> rows by expert
    rows ─gate_up─> gate * up ─down─> combined by weight, + what all tokens share

How many rows an expert gets depends on data and no shape does. What is shared and has a gate is a
mixture of one expert, whose weight is the sigmoid of its logit. Weights of all experts are one
tensor, whose recipe stacks them (`stacking`).

Knows no family, and nothing of attention.
"""

from __future__ import annotations

from octavo.graph.builder import GraphBuilder
from octavo.models import dense
from octavo.models.decoder import Context
from octavo.models.experts import ClampSpec, ExpertSpec
from octavo_platforms.graph import Attr, Value
from octavo_platforms.tensor import DType


def layer(g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
    """Write one decoder layer, dense but for its experts."""
    return dense.layer(g, x, context, index, feed=feed)


def feed(g: GraphBuilder, h: Value, context: Context, index: int) -> Value:
    """Write the feed-forward part of a layer: experts, where the spec says so."""
    experts = context.spec.experts
    if experts is None or index not in experts.layers:
        return dense.mlp(g, h, context)
    with g.scope("mlp"):
        found = routed(g, h, context, experts)
        if not experts.shared_width:
            return found
        return g.one("add", found, shared(g, h, context, experts))


def routed(g: GraphBuilder, h: Value, context: Context, experts: ExpertSpec) -> Value:
    """Write the experts: choose, group, multiply up, gate, multiply down, combine."""
    ids, weights = choose(g, h, experts)
    groups = g.op("group_rows", ids, context.query_starts, num_experts=experts.count)
    rows, places, counts = groups
    with g.scope("experts"):
        x = g.one("gather_rows", h, rows)
        x = _each(g, x, "gate_up_proj", 2 * experts.width, counts, experts)
        x = _gated(g, x, context, experts)
        x = _each(g, x, "down_proj", context.spec.width, counts, experts)
        return g.one("combine", x, places, weights)


def choose(g: GraphBuilder, h: Value, experts: ExpertSpec) -> tuple[Value, Value]:
    """Write the router: rows to ids of experts and their weights."""
    attrs: dict[str, Attr] = {"top_k": experts.top_k, "renormalise": experts.renormalise}
    if experts.score != "softmax":
        attrs["score"] = experts.score
    if experts.score == "near":
        attrs["nearness"] = experts.nearness
    if experts.groups > 1:
        attrs |= {"groups": experts.groups, "top_groups": experts.top_groups}
        attrs["group_score"] = experts.group_score
    if experts.factor != 1.0:
        attrs["factor"] = experts.factor
    with g.scope("gate"):
        operands = [_logits(g, h, experts)]
        if experts.has_correction:
            name = g.place("correction.bias")
            operands.append(g.weight(name, (experts.count,), dtype="float32"))
        ids, weights = g.op("route", *operands, **attrs)
    return ids, weights


def shared(g: GraphBuilder, h: Value, context: Context, experts: ExpertSpec) -> Value:
    """Write what all tokens have beside their experts, by each token's share where it has one."""
    name, width = experts.shared_name, experts.shared_width
    made = dense.mlp(g, h, context, name=name, width=width)
    if not experts.shared_gate:
        return made
    logits = g.linear(h, f"{name}_gate", 1)
    with g.scope(f"{name}_gate"):
        ids, weights = g.op("route", logits, top_k=1, renormalise=False, score="sigmoid")
        _, places, _ = g.op("group_rows", ids, context.query_starts, num_experts=1)
        return g.one("combine", made, places, weights)


def _logits(g: GraphBuilder, h: Value, experts: ExpertSpec) -> Value:
    dtype: DType | None = "float32" if experts.is_wide else None
    x = g.one("cast", h, to="float32") if experts.is_wide else h
    operands = [g.weight(g.place("weight"), (experts.count, g.width(h)), dtype=dtype)]
    if experts.has_bias:
        operands.append(g.weight(g.place("bias"), (experts.count,), dtype=dtype))
    return g.one("linear", x, *operands)


def _each(
    g: GraphBuilder, x: Value, name: str, width: int, counts: Value, experts: ExpertSpec
) -> Value:
    """Multiply each expert's rows by its own weight."""
    with g.scope(name):
        weight = g.weight(g.place("weight"), (experts.count, width, g.width(x)))
        if not experts.has_bias:
            return g.one("grouped_linear", x, weight, counts)
        bias = g.weight(g.place("bias"), (experts.count, width))
        return g.one("grouped_linear", x, weight, counts, bias)


def _gated(g: GraphBuilder, x: Value, context: Context, experts: ExpertSpec) -> Value:
    if experts.clamp is None and context.spec.activation == "silu":
        return g.one("silu_gate", x)
    gate, up = g.op("split", x, sizes=(experts.width, experts.width))
    if experts.clamp is not None:
        return _clamped(g, gate, up, experts.clamp)
    return g.one("mul", dense.active(g, gate, context.spec), up)


def _clamped(g: GraphBuilder, gate: Value, up: Value, clamp: ClampSpec) -> Value:
    gate = g.one("clamp", gate, low=None, high=clamp.limit)
    up = g.one("clamp", up, low=-clamp.limit, high=clamp.limit)
    open_ = g.one("mul", gate, g.one("sigmoid", g.one("scale", gate, factor=clamp.alpha)))
    return g.one("add", g.one("mul", up, open_), open_)
