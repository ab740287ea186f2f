"""Writing a norm, of the kind that a spec says. Knows nothing of where it stands."""

from __future__ import annotations

from octavo.graph.builder import GraphBuilder
from octavo.models.spec import DecoderSpec
from octavo_platforms.graph import Attr, Value


def norm(
    g: GraphBuilder,
    x: Value,
    name: str,
    spec: DecoderSpec,
    *,
    rows: int | None = None,
    has_bias: bool = False,
) -> Value:
    """Apply the norm `name`; with `rows`, by a weight that has one for each head."""
    kind = spec.norm
    shape = (g.width(x),) if rows is None else (rows, g.width(x))
    attrs: dict[str, Attr] = {"eps": spec.eps}
    if kind.offset:
        attrs["offset"] = kind.offset
    with g.scope(name):
        operands = [x]
        if kind.has_weight:
            operands.append(g.weight(g.place("weight"), shape))
        if has_bias:
            operands.append(g.weight(g.place("bias"), shape))
        return g.one(kind.op, *operands, **attrs)
