"""Gemma 1, 2 and 3 (text): norms by 1 + weight, scaled embeddings, caps, windows by turns.

Gemma 2 has norms around attention and MLP, and caps on scores and logits; Gemma 3 norms of heads
in place of caps, and other rotary positions for layers with a window.
Source: arXiv 2403.08295, 2408.00118 and 2503.19786.

Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.reading import (
    FULL,
    SLIDING,
    Config,
    every,
    kinds,
    mapping,
    maybe_number,
    number,
    positive,
    refuse,
    whole,
)
from octavo.models.rope import rope_spec
from octavo.models.spec import (
    DecoderSpec,
    HeadNorms,
    Norms,
    NormSpec,
    Scales,
    Sight,
    decoder_spec,
    with_sights,
)

GELU = "gelu_pytorch_tanh"
HEAD_WIDTH = 256
AROUND = Norms(
    before_attention="input_layernorm",
    after_attention="post_attention_layernorm",
    before_mlp="pre_feedforward_layernorm",
    after_mlp="post_feedforward_layernorm",
)


def gemma_spec(config: Config) -> DecoderSpec:
    """Read the config of a Gemma model. Its first configs say `gelu` and mean its other form."""
    own = config if config.get("hidden_act") != "gelu" else {**config, "hidden_act": GELU}
    if own.get("hidden_activation") is not None:
        own = {**own, "hidden_act": own["hidden_activation"]}
    return _spec(own, "gemma")


def gemma2_spec(config: Config) -> DecoderSpec:
    """Read the config of a Gemma 2 model: every second layer sees everything."""
    spec = _around(config, "gemma2", logits_cap=30.0, attention_cap=50.0)
    return with_sights(spec, {"sliding_window": 4096, **config}, every(config, 2))


def gemma3_spec(config: Config) -> DecoderSpec:
    """Read the config of a Gemma 3 model: every sixth layer sees everything, by longer waves."""
    spec = replace(_around(config, "gemma3"), head_norms=HeadNorms("head"))
    named = mapping(mapping(config, "rope_parameters") or {}, SLIDING) is not None
    far = rope_spec(config, spec.head_width, theta=1e6, kind=FULL)
    local = {"rope_theta": number(config, "rope_local_base_freq", 10000.0)}
    near = rope_spec(config if named else local, spec.head_width, theta=1e4, kind=SLIDING)
    found = kinds(config, every(config, whole(config, "sliding_window_pattern", 6)))
    window = whole(config, "sliding_window", 4096)
    sights = tuple(Sight(window, near) if each == SLIDING else Sight(None, far) for each in found)
    return replace(spec, rope=far, sights=sights)


def _around(
    config: Config,
    name: str,
    *,
    logits_cap: float | None = None,
    attention_cap: float | None = None,
) -> DecoderSpec:
    spec = _spec(config, name)
    scales = replace(
        spec.scales,
        attention=positive(config, "query_pre_attn_scalar", HEAD_WIDTH) ** -0.5,
        attention_cap=maybe_number(config, "attn_logit_softcapping", attention_cap),
        logits_cap=maybe_number(config, "final_logit_softcapping", logits_cap),
    )
    return replace(spec, norms=AROUND, scales=scales)


def _spec(config: Config, name: str) -> DecoderSpec:
    refuse(config, name, use_bidirectional_attention=False)
    own = {**config, "head_dim": whole(config, "head_dim", HEAD_WIDTH)}
    if name == "gemma3":
        own = {key: value for key, value in own.items() if not key.startswith("rope_")}
    spec = decoder_spec(own, name, activation=GELU, is_tied=True)
    scales = Scales(embedding=spec.width**0.5, embedding_rounded=True)
    return replace(spec, norm=NormSpec(offset=1.0), scales=scales)


GEMMA = Family("gemma", ("GemmaForCausalLM",), gemma_spec)
GEMMA2 = Family("gemma2", ("Gemma2ForCausalLM",), gemma2_spec)
GEMMA3 = Family("gemma3", ("Gemma3ForCausalLM",), gemma3_spec)
