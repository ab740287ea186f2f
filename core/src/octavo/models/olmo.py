"""OLMo 1 to 3: norms without weights; then norms behind attention and MLP, and of whole rows.

OLMo 3 adds windows, with plain rotary positions where they are stretched elsewhere.
Source: arXiv 2402.00838 and 2501.00656. Knows nothing of how a layer is written (`dense`).
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
    whole,
)
from octavo.models.rope import rope_spec
from octavo.models.spec import DecoderSpec, HeadNorms, Norms, NormSpec, Sight, decoder_spec

EPS = 1e-5
THETA = 500000.0
BEHIND = Norms(
    before_attention=None,
    after_attention="post_attention_layernorm",
    before_mlp=None,
    after_mlp="post_feedforward_layernorm",
)


def olmo_spec(config: Config) -> DecoderSpec:
    """Read the config of an OLMo model."""
    spec = decoder_spec({**config, "norm_eps": EPS}, "olmo", eps="norm_eps")
    clip = maybe_number(config, "clip_qkv")
    return replace(spec, norm=NormSpec("layer_norm", has_weight=False), clip=clip)


def olmo2_spec(config: Config) -> DecoderSpec:
    """Read the config of an OLMo 2 model."""
    return replace(decoder_spec(config, "olmo2"), norms=BEHIND, head_norms=HeadNorms("row"))


def olmo3_spec(config: Config) -> DecoderSpec:
    """Read the config of an OLMo 3 model: every fourth layer sees everything."""
    plain = {key: value for key, value in config.items() if not key.startswith("rope_")}
    spec = decoder_spec(plain, "olmo3")
    theta = number(config, "rope_theta", THETA)
    far = rope_spec(config, spec.head_width, theta=theta, kind=FULL)
    named = mapping(mapping(config, "rope_parameters") or {}, SLIDING)
    near = rope_spec({**plain, "rope_parameters": named}, spec.head_width, theta=theta)
    window = whole(config, "sliding_window", 4096)
    sights = tuple(
        Sight(window, near) if each == SLIDING else Sight(None, far)
        for each in kinds(config, every(config, 4))
    )
    return replace(spec, rope=far, sights=sights, norms=BEHIND, head_norms=HeadNorms("row"))


OLMO = Family("olmo", ("OlmoForCausalLM",), olmo_spec)
OLMO2 = Family("olmo2", ("Olmo2ForCausalLM",), olmo2_spec)
OLMO3 = Family("olmo3", ("Olmo3ForCausalLM",), olmo3_spec)
