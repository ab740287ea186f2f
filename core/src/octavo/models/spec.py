"""Specs: what a checkpoint's config says, checked once and typed.

What families differ in is data here, so that one writer (`dense`) serves them all. Anything that
a config asks for and that is not built is refused by name, never ignored: a model that runs with
a forgotten scaling gives plausible, wrong text.

Knows nothing of graphs, nor of any family by name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from octavo.errors import ModelError, NotBuilt
from octavo.models.experts import ExpertSpec
from octavo.models.memory import MemorySpec
from octavo.models.reading import SLIDING, Config, flag, kinds, positive, whole
from octavo.models.rope import NO_ROPE, RopeSpec, rope_spec

Activation = Literal["silu", "gelu", "gelu_tanh", "relu", "relu2"]

ACTIVATION_OF: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
}


@dataclass(frozen=True, slots=True)
class NormSpec:
    """What a norm does: by the root mean square, or by the deviation (`layer`).

    `offset` is added to the weight.
    """

    op: Literal["rms_norm", "layer_norm"] = "rms_norm"
    offset: float = 0.0
    has_weight: bool = True
    has_bias: bool = False


@dataclass(frozen=True, slots=True)
class Norms:
    """Where a layer's norms stand, by their names in the checkpoint; None where there is none.

    Those of a sum norm what attention or MLP made together with the rows it is added to; that of
    the embedding stands before the first layer.
    """

    embedding: str | None = None
    before_attention: str | None = "input_layernorm"
    after_attention: str | None = None
    before_mlp: str | None = "post_attention_layernorm"
    after_mlp: str | None = None
    attention_sum: str | None = None
    mlp_sum: str | None = None


@dataclass(frozen=True, slots=True)
class HeadNorms:
    """Norms of queries and keys, before they turn.

    `over` says of what: each head, by one weight for all or by its own; or a whole row of heads.
    """

    over: Literal["head", "own head", "row"]
    query: str = "q_norm"
    key: str = "k_norm"


@dataclass(frozen=True, slots=True)
class Sight:
    """What one layer sees: how many tokens back, None for all, and by which positions, if any."""

    window: int | None
    rope: RopeSpec | None


@dataclass(frozen=True, slots=True)
class Places:
    """Learned positions: how many rows the table has, of which the first `skipped` are unused."""

    rows: int
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Scales:
    """Numbers that rows are multiplied by; None for none, and what stays below a cap.

    `embedding_rounded` says that the embedding's number is rounded to the model's dtype first.
    """

    embedding: float | None = None
    embedding_rounded: bool = False
    attention: float | None = None
    residual: float | None = None
    logits: float | None = None
    attention_cap: float | None = None
    logits_cap: float | None = None


@dataclass(frozen=True, slots=True)
class Sharper:
    """Queries that grow longer with their positions, by steps: 1 + beta * ln(1 + p // every)."""

    beta: float
    every: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSpec:
    """Latents that stand for keys and values: a row of `rank`, and a key of `turned_width`.

    A head's query has a plain part and one that turns. `query_rank` is what queries are made of,
    None for the rows themselves; `scale` is that of scores, `eps` that of the latents' norms.
    """

    rank: int
    query_rank: int | None
    plain_width: int
    turned_width: int
    value_width: int
    scale: float
    eps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSpec:
    """A decoder-only transformer, in the dimensions of STYLE.md.

    `sights` has one for each layer; where it is empty, all see everything, by `rope`. In a
    parallel layer attention and MLP read the same rows, and both are added at once.

    Where scores depend on distance, `slopes` has a number for each head (`alibi`). `clip` is what
    projections of queries, keys and values are held between, on both sides of zero.

    `attending` are the layers that attend, None for all of them; `memory` is what others have in
    place of attention, or beside it.

    Units: `max_context_tokens` is what the model was made for.
    """

    architecture: str
    vocab_size: int
    width: int
    ffn_width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    eps: float
    rope: RopeSpec
    attention_bias: bool
    mlp_bias: bool
    tied_embeddings: bool
    max_context_tokens: int
    output_bias: bool = False
    logits_bias: bool = False
    activation: Activation = "silu"
    is_gated: bool = True
    is_parallel: bool = False
    is_interleaved: bool = False
    norm: NormSpec = NormSpec()
    norms: Norms = Norms()
    head_norms: HeadNorms | None = None
    sights: tuple[Sight, ...] = ()
    places: Places | None = None
    scales: Scales = Scales()
    sharper: Sharper | None = None
    has_sinks: bool = False
    slopes: tuple[float, ...] = ()
    clip: float | None = None
    has_gated_attention: bool = False
    attending: tuple[int, ...] | None = None
    memory: MemorySpec | None = None
    experts: ExpertSpec | None = None
    latent: LatentSpec | None = None

    def sight(self, layer: int) -> Sight:
        """Give what a layer sees."""
        return self.sights[layer] if self.sights else Sight(None, self.rope)

    @property
    def kv_layers(self) -> int:
        """Count the layers that keep keys and values."""
        return self.layers if self.attending is None else len(self.attending)

    def kv_layer(self, layer: int) -> int:
        """Give a layer's place among those that attend."""
        return layer if self.attending is None else self.attending.index(layer)

    def attends(self, layer: int) -> bool:
        """Tell whether a layer attends."""
        return self.attending is None or layer in self.attending

    def ropes(self) -> tuple[RopeSpec, ...]:
        """Give the different rotary positions of all layers, the spec's own in front."""
        found = [self.rope, *(sight.rope for sight in self.sights if sight.rope is not None)]
        return tuple(dict.fromkeys(each for each in found if each.frequencies))

    def within(self, context_tokens: int) -> DecoderSpec:
        """Give the spec for contexts of at most so many tokens."""
        sights = tuple(
            replace(each, rope=None if each.rope is None else each.rope.within(context_tokens))
            for each in self.sights
        )
        sharper = self.sharper if self.sharper and context_tokens > self.sharper.every else None
        rope = self.rope.within(context_tokens)
        return replace(self, rope=rope, sights=sights, sharper=sharper)


def decoder_spec(
    config: Config,
    architecture: str,
    *,
    activation: str = "silu",
    eps: str = "rms_norm_eps",
    is_tied: bool = False,
    has_rope: bool = True,
    theta: float = 10000.0,
    partial: float = 1.0,
) -> DecoderSpec:
    """Read what most families say in the same keys, those of Hugging Face's config.json.

    `eps` is the key of the norms' epsilon; the others stand where the config says nothing.

    Raises: ModelError, for a missing or wrong value; NotBuilt, for what is not here.
    """
    width, heads = whole(config, "hidden_size"), whole(config, "num_attention_heads")
    head_width = whole(config, "head_dim", width // heads)
    if head_width < 1:
        raise ModelError(f"config.json: 'hidden_size' is {width}, too narrow for {heads} heads")
    kv_heads = whole(config, "num_key_value_heads", heads)
    if heads % kv_heads:
        raise ModelError(f"config.json: {heads} heads cannot share {kv_heads} KV heads evenly")
    rope = rope_spec(config, head_width, theta=theta, partial=partial) if has_rope else NO_ROPE
    bias = flag(config, "attention_bias", default=False)
    return DecoderSpec(
        architecture=architecture,
        vocab_size=whole(config, "vocab_size"),
        width=width,
        ffn_width=whole(config, "intermediate_size"),
        layers=whole(config, "num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        eps=positive(config, eps),
        rope=rope,
        attention_bias=bias,
        mlp_bias=flag(config, "mlp_bias", default=False),
        tied_embeddings=flag(config, "tie_word_embeddings", default=is_tied),
        max_context_tokens=whole(config, "max_position_embeddings"),
        output_bias=bias,
        activation=_activation(config, activation),
    )


def with_sights(spec: DecoderSpec, config: Config, default: tuple[str, ...] | None) -> DecoderSpec:
    """Let layers see as far as their kinds say; without `default`, all slide where there is a size.

    Raises: NotBuilt, for another kind; ModelError, for one without a size.
    """
    if default is None:
        kind = "full_attention" if config.get("sliding_window") is None else SLIDING
        default = (kind,) * spec.layers
    found = kinds(config, default)
    if SLIDING not in found:
        return spec
    window = whole(config, "sliding_window")
    sights = tuple(Sight(window if each == SLIDING else None, spec.rope) for each in found)
    return replace(spec, sights=sights)


def _activation(config: Config, default: str) -> Activation:
    for key in ("hidden_activation", "hidden_act", "activation_function"):
        name = config.get(key)
        if name is not None:
            break
    else:
        name = default
    if str(name) not in ACTIVATION_OF:
        raise NotBuilt(
            f"config.json: the activation '{name}' is not built; known: {', '.join(ACTIVATION_OF)}"
        )
    return ACTIVATION_OF[str(name)]
