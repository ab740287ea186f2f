"""Mistral, Ministral and Ministral 3: Llama whose layers see a window, all of them, some or none.

Ministral 3 sharpens queries beyond the contexts that it was first trained for. Up to there it is
what is written here, and no longer ones are taken.
Source: arXiv 2310.06825; transformers, `Ministral3Config`.

Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.reading import Config, number, whole
from octavo.models.rope import scaling_of
from octavo.models.spec import DecoderSpec, decoder_spec, with_sights

WINDOW: Config = {"sliding_window": 4096}


def mistral_spec(config: Config) -> DecoderSpec:
    """Read the config of a Mistral model: every layer slides, where there is a window."""
    return with_sights(decoder_spec(config, "mistral"), {**WINDOW, **config}, None)


def ministral_spec(config: Config) -> DecoderSpec:
    """Read the config of a Ministral model, which names the kind of each layer."""
    return with_sights(decoder_spec(config, "ministral"), {**WINDOW, **config}, None)


def ministral3_spec(config: Config) -> DecoderSpec:
    """Read the config of a Ministral 3 model, for contexts in which no query is sharpened."""
    spec = with_sights(decoder_spec(config, "ministral3", theta=1e6), config, None)
    scaling = scaling_of(config)
    if not number(scaling, "llama_4_scaling_beta", 0.0):
        return spec
    trained = whole(scaling, "original_max_position_embeddings")
    return replace(spec, max_context_tokens=min(spec.max_context_tokens, trained))


FAMILY = Family("mistral", ("MistralForCausalLM",), mistral_spec)
MINISTRAL = Family("ministral", ("MinistralForCausalLM",), ministral_spec)
MINISTRAL3 = Family("ministral3", ("Ministral3ForCausalLM",), ministral3_spec)
