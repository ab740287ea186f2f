"""Encoders: whole prompts that look both ways, and end in one row each or in scores of classes.

    tokens ─> embeddings, + positions, + types ─norm─> layers ─> rows
    pool     rows ─> the first, the last or the mean of each prompt's ─norm─> projected ─> pooled
    score    the same ─> a layer ─> scores of classes

Layers are those of `dense` around an attention that keeps no state, so a prompt has to be in one
step as a whole. What else generates can be pooled too: its layers then see only what is before
them. A program has the one entry that its checkpoint is for.

Knows no family, and not what becomes of a row: its length, and what scores mean, are the host's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from octavo.errors import NotBuilt
from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo.models import dense
from octavo.models.decoder import (
    Context,
    Layer,
    Limits,
    R,
    S,
    T,
    context_of,
    embedded,
    placed,
    through,
)
from octavo.models.family import Family, Names, told_as_config
from octavo.models.norms import norm
from octavo.models.reading import Config, refuse
from octavo.models.spec import DecoderSpec
from octavo_platforms.graph import Dim, Value
from octavo_platforms.program import ProgramDef
from octavo_platforms.recipes import replace_takes
from octavo_platforms.tensor import DType

Pooling = Literal["cls", "mean", "last"]
Weighing = Literal["softmax", "sigmoid", "none"]
Between = Literal["tanh", "gelu", "gelu_tanh", "relu", "silu", "sigmoid"]

POOL, SCORE = "pool", "score"
POOLED, SCORES = "pooled", "scores"
TOKEN_TYPES = "token_types"
SPARE = r"^(\w*bert\w*\.)?(pooler|cls|lm_head|head|decoder)\.|embeddings\.position_ids$"
"""Tensors that a checkpoint of a whole model has beside an encoder: other heads, and counters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassHead:
    """What makes scores of classes of a pooled row: a layer with an activation, and the classes."""

    classes: int
    activation: Between = "tanh"
    has_bias: bool = True
    has_norm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """A layer behind the pooling: where its weights stand, and how wide its rows are, both ways."""

    place: str
    n_in: int
    n_out: int
    activation: Between | None = None
    has_bias: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """An encoder: its layers, in the words of decoders, and what stands around them.

    A window of the layers counts as many tokens after one as before it. `token_types` is how many
    kinds of segments there are, 0 for none. With `is_causal` no token sees those after it. Without
    a `head` rows are pooled and not scored, and go through `projections`.
    """

    body: DecoderSpec
    pooling: Pooling
    token_types: int = 0
    is_causal: bool = False
    has_first_norm: bool = False
    has_last_norm: bool = False
    head: ClassHead | None = None
    projections: tuple[Projection, ...] = ()

    @property
    def width(self) -> int:
        """Give how wide a pooled row is."""
        return self.projections[-1].n_out if self.projections else self.body.width

    @property
    def entry(self) -> str:
        """Name the entry of its program."""
        return POOL if self.head is None else SCORE

    @property
    def tells_segments(self) -> bool:
        """Tell whether it makes a difference in which of two segments a token is."""
        return self.token_types > 1


def attention(spec: EncoderSpec, g: GraphBuilder, h: Value, context: Context, index: int) -> Value:
    """Write attention among the rows of a request."""
    body, window = spec.body, spec.body.sight(index).window
    reach = None if window is None else window - 1
    scale = body.scales.attention

    def attend(q: Value, k: Value, v: Value) -> Value:
        return g.one(
            "encoder_attention",
            q,
            k,
            v,
            context.query_starts,
            scale=body.head_width**-0.5 if scale is None else scale,
            num_kv_heads=body.kv_heads,
            before=reach,
            after=0 if spec.is_causal else reach,
        )

    return dense.around(g, h, context, index, attend)


def as_dense(spec: EncoderSpec) -> Layer:
    """Give the layers that `dense` writes, around attention among the rows of a request."""
    return partial(dense.layer, attend=partial(attention, spec))


@dataclass(frozen=True, slots=True)
class EncoderFamily:
    """How a family of encoders reads a config and names weights.

    `architectures` are the names of those that pool, `classifiers` of those that score.
    """

    name: str
    architectures: tuple[str, ...]
    classifiers: tuple[str, ...]
    spec: Callable[[Config], EncoderSpec]
    names: Callable[[EncoderSpec], Names]
    layer: Callable[[EncoderSpec], Layer] = as_dense

    def program(self, spec: EncoderSpec, *, dtype: DType, limits: Limits) -> ProgramDef:
        """Write the model as a program of one entry."""
        body = spec.body.within(limits.max_blocks * limits.block_size)
        spec = replace(spec, body=body)
        symbols = tuple(each for each in limits.symbols() if each.name in ("T", "R", "S"))
        made = ProgramBuilder(body.architecture, dtype=dtype, symbols=symbols)
        g = made.entry(spec.entry)
        with told_as_config():
            x = _pooled(g, spec, _rows(g, spec, self.layer(spec)))
        if spec.head is None:
            g.output(POOLED, _projected(g, spec.projections, x))
        else:
            g.output(SCORES, _scores(g, spec, spec.head, x))
        written, rule = made.finish(), self.names(spec)
        weights = tuple(
            replace(each, recipe=replace_takes(each.recipe, rule)) for each in written.weights
        )
        return replace(written, weights=weights)


def pooling_of(family: Family) -> EncoderFamily:
    """Give a family that generates as one that is pooled by its last token.

    Raises: NotBuilt, at a spec, for layers that do more than attend, or that see both ways.
    """

    def spec(config: Config) -> EncoderSpec:
        refuse(config, family.name, is_causal=True, use_bidirectional_attention=False)
        body = family.spec(config)
        bends = body.has_sinks or body.slopes or body.scales.attention_cap
        if family.layer is not dense.layer or bends:
            raise NotBuilt(
                f"models of the family '{family.name}' are not pooled here, because their layers "
                "do not only attend. Use a family of plain layers, such as qwen3, to embed."
            )
        return EncoderSpec(body=body, pooling="last", is_causal=True, has_last_norm=True)

    def names(spec: EncoderSpec) -> Names:
        return family.names(spec.body)

    return EncoderFamily(family.name, family.architectures, (), spec, names)


def is_classifier(config: Config) -> bool:
    """Tell whether a config is of a model that scores classes."""
    names = config.get("architectures")
    given = names if isinstance(names, list | tuple) else ()
    return any(str(name).endswith("ForSequenceClassification") for name in given)


def num_classes(config: Config) -> int:
    """Count the classes of a config: those that it names, or two.

    Source: transformers' PreTrainedConfig, which writes `id2label`.
    """
    labels, count = config.get("id2label"), config.get("num_labels")
    if isinstance(labels, dict) and labels:
        return len(labels)
    return count if isinstance(count, int) and count > 0 else 2


def _rows(g: GraphBuilder, spec: EncoderSpec, layer: Layer) -> Value:
    """Write tokens to the rows behind the last layer."""
    body = spec.body
    context = context_of(g, body, None, g.input("computed", (R,), "int32"))
    ids = g.input("token_ids", (T,), "int32")
    x = placed(g, embedded(g, body, ids), context)
    with g.scope("model"):
        if spec.token_types:
            with g.scope("embed_types"):
                table = g.weight(g.place("weight"), (spec.token_types, body.width))
                x = g.one("add", x, g.one("embedding", table, g.input(TOKEN_TYPES, (T,), "int32")))
        if spec.has_first_norm:
            x = norm(g, x, "embed_norm", body, has_bias=body.norm.has_bias)
    return through(g, x, layer, context)


def _pooled(g: GraphBuilder, spec: EncoderSpec, x: Value) -> Value:
    """Write each prompt's row; a norm of rows goes before a mean, and after a choice, of them."""
    starts = g.input("query_starts", (Dim("R", plus=1),), "int32")
    with g.scope("model"):
        if spec.pooling != "mean":
            x = g.one("gather_rows", x, g.input("rows", (S,), "int32"))
        if spec.has_last_norm:
            x = norm(g, x, "norm", spec.body, has_bias=spec.body.norm.has_bias)
        return x if spec.pooling != "mean" else g.one("mean_rows", x, starts)


def _scores(g: GraphBuilder, spec: EncoderSpec, head: ClassHead, x: Value) -> Value:
    body = spec.body
    with g.scope("head"):
        x = g.linear(x, "dense", body.width, bias=head.has_bias)
        x = _active(g, x, head.activation)
        if head.has_norm:
            x = norm(g, x, "norm", body, has_bias=body.norm.has_bias)
        return g.linear(x, "classes", head.classes, bias=True)


def _projected(g: GraphBuilder, projections: Sequence[Projection], x: Value) -> Value:
    """Write pooled rows through further layers."""
    for each in projections:
        with g.scope(each.place):
            x = g.linear(x, "linear", each.n_out, bias=each.has_bias)
            x = x if each.activation is None else _active(g, x, each.activation)
    return x


def _active(g: GraphBuilder, x: Value, activation: Between) -> Value:
    return g.one("softcap", x, cap=1.0) if activation == "tanh" else g.one(activation, x)
