"""Mistral and Ministral: Llama whose layers see a window, all of them or some.

Source: arXiv 2310.06825. Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from octavo.models.family import Family
from octavo.models.reading import Config
from octavo.models.spec import DecoderSpec, decoder_spec, with_sights

WINDOW: Config = {"sliding_window": 4096}


def mistral_spec(config: Config) -> DecoderSpec:
    """Read the config of a Mistral model: every layer slides, where there is a window."""
    return with_sights(decoder_spec(config, "mistral"), {**WINDOW, **config}, None)


def ministral_spec(config: Config) -> DecoderSpec:
    """Read the config of a Ministral model, which names the kind of each layer."""
    return with_sights(decoder_spec(config, "ministral"), {**WINDOW, **config}, None)


FAMILY = Family("mistral", ("MistralForCausalLM",), mistral_spec)
MINISTRAL = Family("ministral", ("MinistralForCausalLM",), ministral_spec)
