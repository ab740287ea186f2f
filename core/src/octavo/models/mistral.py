"""Mistral, Ministral and Ministral 3: Llama whose layers see a window, all of them, some or none.

Ministral 3 sharpens queries beyond the contexts that it was first trained for, a step for each
time that these fit before a query.
Source: arXiv 2310.06825; transformers, `Ministral3Config`.

Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.reading import Config, number, whole
from octavo.models.rope import scaling_of, with_positions
from octavo.models.spec import DecoderSpec, Sharper, decoder_spec, with_sights

WINDOW: Config = {"sliding_window": 4096}
LEFT_OUT3: Config = {
    "head_dim": 128,
    "rope_parameters": {
        "rope_type": "yarn",
        "rope_theta": 1e6,
        "factor": 16.0,
        "original_max_position_embeddings": 16384,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "llama_4_scaling_beta": 0.1,
    },
}
"""What a config of Ministral 3 means by saying nothing of it."""


def mistral_spec(config: Config) -> DecoderSpec:
    """Read the config of a Mistral model: every layer slides, where there is a window."""
    return with_sights(decoder_spec(config, "mistral"), {**WINDOW, **config}, None)


def ministral_spec(config: Config) -> DecoderSpec:
    """Read the config of a Ministral model, which names the kind of each layer."""
    return with_sights(decoder_spec(config, "ministral"), {**WINDOW, **config}, None)


def ministral3_spec(config: Config) -> DecoderSpec:
    """Read the config of a Ministral 3 model."""
    own = with_positions(config, LEFT_OUT3)
    spec = with_sights(decoder_spec(own, "ministral3", theta=1e6), own, None)
    scaling = scaling_of(own)
    beta = number(scaling, "llama_4_scaling_beta", 0.0)
    if not beta:
        return spec
    return replace(spec, sharper=Sharper(beta, whole(scaling, "original_max_position_embeddings")))


FAMILY = Family("mistral", ("MistralForCausalLM",), mistral_spec)
MINISTRAL = Family("ministral", ("MinistralForCausalLM",), ministral_spec)
MINISTRAL3 = Family("ministral3", ("Ministral3ForCausalLM",), ministral3_spec)
