"""A dense decoder layer, by its spec's data: one writer for every family.

    x ─norm─> attention ─norm─> * scale, + x ─norm─> mlp ─norm─> * scale, + x
    x ─norm─> attention, and mlp beside it ─> + x                  where layers are parallel
    x ─> attention, + x ─norm─> mlp, + x ─norm─>                   where norms are of the sums

Each norm, scale, cap and bias is there or not as the spec says. The names of weights are those of
Llama checkpoints; `naming` says what other families call them.

Knows no family, and nothing of the embedding, the head and sampling (`decoder`).
"""

from __future__ import annotations

from collections.abc import Callable

from octavo.graph.builder import GraphBuilder
from octavo.models.decoder import Context, Layer
from octavo.models.norms import norm
from octavo.models.spec import DecoderSpec
from octavo_platforms.graph import Attr, Value
from octavo_platforms.recipes import Given

Heads = Callable[[Value, Value, Value], Value]
"""From heads of queries, keys and values, [T, H, D], to what each token attended to."""


def layer(
    g: GraphBuilder,
    x: Value,
    context: Context,
    index: int,
    *,
    attend: Layer | None = None,
    feed: Layer | None = None,
) -> Value:
    """Write one decoder layer; `attend` and `feed` stand for its attention and its MLP."""
    spec, norms = context.spec, context.spec.norms
    attend, feed = attend or attention, feed or _mlp
    h = _normed(g, x, norms.before_attention, spec)
    attended = attend(g, h, context, index)
    attended = _scaled(g, _normed(g, attended, norms.after_attention, spec), spec)
    if spec.is_parallel:
        beside = h if norms.before_mlp is None else _normed(g, x, norms.before_mlp, spec)
        return g.one("add", g.one("add", feed(g, beside, context, index), attended), x)
    x = _normed(g, g.one("add", attended, x), norms.attention_sum, spec)
    h = _normed(g, x, norms.before_mlp, spec)
    made = _normed(g, feed(g, h, context, index), norms.after_mlp, spec)
    return _normed(g, g.one("add", _scaled(g, made, spec), x), norms.mlp_sum, spec)


def attention(
    g: GraphBuilder, h: Value, context: Context, index: int, *, window: int | None = None
) -> Value:
    """Write attention: project, norm, turn, write the new keys and values, attend, project back.

    Units: `window` is how many tokens are seen, None for what the spec says.
    """
    spec = context.spec
    seen = spec.sight(index).window if window is None else window

    def attend(q: Value, k: Value, v: Value) -> Value:
        kv = g.state(context.kv, spec.kv_layer(index))
        g.op("kv_write", k, v, context.slots, kv)
        causes = (context.query_starts, context.computed, context.block_table, kv)
        attrs = _attention_attrs(context)
        behind = (*_sinks(g, spec), *_slopes(g, spec))
        return g.one("attention", q, *causes, *behind, window=seen, **attrs)

    return around(g, h, context, index, attend)


def around(g: GraphBuilder, h: Value, context: Context, index: int, attend: Heads) -> Value:
    """Write what stands around any attention: project, norm and turn; and project back."""
    spec, bias, sight = context.spec, context.spec.attention_bias, context.spec.sight(index)
    with g.scope("self_attn"):
        q = g.linear(h, "q_proj", spec.heads * spec.head_width, bias=bias)
        k = g.linear(h, "k_proj", spec.kv_heads * spec.head_width, bias=bias)
        v = g.linear(h, "v_proj", spec.kv_heads * spec.head_width, bias=bias)
        q, k, v = (_clipped(g, each, spec) for each in (q, k, v))
        q, k = _heads(g, q, k, spec)
        v = g.one("heads", v, width=spec.head_width)
        q = _sharpened(g, q, context)
        if sight.rope is not None and sight.rope.frequencies:
            table = context.tables[sight.rope]
            q = g.one("rotary", q, table, interleaved=spec.is_interleaved)
            k = g.one("rotary", k, table, interleaved=spec.is_interleaved)
        found = g.one("flatten", attend(q, k, v))
        if spec.has_gated_attention:
            gate = g.linear(h, "gate_proj", spec.heads * spec.head_width, bias=bias)
            found = g.one("mul", found, g.one("sigmoid", gate))
        return g.linear(found, "o_proj", spec.width, bias=spec.output_bias)


def _sinks(g: GraphBuilder, spec: DecoderSpec) -> tuple[Value, ...]:
    return (g.weight(g.place("sinks.weight"), (spec.heads,)),) if spec.has_sinks else ()


def _slopes(g: GraphBuilder, spec: DecoderSpec) -> tuple[Value, ...]:
    """Declare what scores lose with distance, which no checkpoint holds."""
    if not spec.slopes:
        return ()
    made = Given(spec.slopes)
    return (g.weight(g.place("slopes"), (spec.heads,), made, dtype="float32"),)


def _clipped(g: GraphBuilder, x: Value, spec: DecoderSpec) -> Value:
    limit = spec.clip
    return x if limit is None else g.one("clamp", x, low=-limit, high=limit)


def mlp(
    g: GraphBuilder, h: Value, context: Context, *, name: str = "mlp", width: int | None = None
) -> Value:
    """Write the feed-forward part, gated or not, as wide as the spec says or as `width`."""
    spec, bias = context.spec, context.spec.mlp_bias
    width = spec.ffn_width if width is None else width
    with g.scope(name):
        if spec.is_gated:
            gate = g.linear(h, "gate_proj", width, bias=bias)
            up = g.linear(h, "up_proj", width, bias=bias)
            made = g.one("mul", active(g, gate, spec), up)
        else:
            made = active(g, g.linear(h, "up_proj", width, bias=bias), spec)
        return g.linear(made, "down_proj", spec.width, bias=bias)


def _mlp(g: GraphBuilder, h: Value, context: Context, index: int) -> Value:
    return mlp(g, h, context)


def active(g: GraphBuilder, x: Value, spec: DecoderSpec) -> Value:
    """Apply the spec's activation."""
    if spec.activation != "relu2":
        return g.one(spec.activation, x)
    positive = g.one("relu", x)
    return g.one("mul", positive, positive)


def _heads(g: GraphBuilder, q: Value, k: Value, spec: DecoderSpec) -> tuple[Value, Value]:
    """Write rows of queries and keys to heads, with their norms where there are some."""
    norms, width = spec.head_norms, spec.head_width
    if norms is not None and norms.over == "row":
        q, k = norm(g, q, norms.query, spec), norm(g, k, norms.key, spec)
    q, k = (g.one("heads", each, width=width) for each in (q, k))
    if norms is None or norms.over == "row":
        return q, k
    is_own = norms.over == "own head"
    q = norm(g, q, norms.query, spec, rows=spec.heads if is_own else None)
    return q, norm(g, k, norms.key, spec, rows=spec.kv_heads if is_own else None)


def _sharpened(g: GraphBuilder, q: Value, context: Context) -> Value:
    """Sharpen queries where the spec says so; that they turn afterwards changes nothing."""
    own = context.spec.sharper
    if own is None:
        return q
    assert context.positions is not None, "who attends stands somewhere"
    return g.one("sharpen", q, context.positions, beta=own.beta, every=own.every)


def _attention_attrs(context: Context) -> dict[str, Attr]:
    spec = context.spec
    scale, cap = spec.scales.attention, spec.scales.attention_cap
    attrs: dict[str, Attr] = {
        "scale": spec.head_width**-0.5 if scale is None else scale,
        "num_kv_heads": spec.kv_heads,
        "lengths": context.lengths,
    }
    if spec.slopes:
        attrs["slopes"] = True
    return attrs if cap is None else {**attrs, "softcap": cap}


def _normed(g: GraphBuilder, x: Value, name: str | None, spec: DecoderSpec) -> Value:
    return x if name is None else norm(g, x, name, spec, has_bias=spec.norm.has_bias)


def _scaled(g: GraphBuilder, x: Value, spec: DecoderSpec) -> Value:
    factor = spec.scales.residual
    return x if factor is None else g.one("scale", x, factor=factor)
