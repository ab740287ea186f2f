"""Granite: Llama with numbers on embeddings, scores, residuals and logits.

Source: "Granite 3.0 Language Models", IBM, 2024; arXiv 2408.13359.
Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.reading import Config, number, positive
from octavo.models.spec import DecoderSpec, Scales, decoder_spec


def granite_spec(config: Config) -> DecoderSpec:
    """Read the config of a Granite model. Logits are divided by theirs, all else multiplied."""
    scales = Scales(
        embedding=number(config, "embedding_multiplier", 1.0),
        attention=number(config, "attention_multiplier", 1.0),
        residual=number(config, "residual_multiplier", 1.0),
        logits=1.0 / positive(config, "logits_scaling", 1.0),
    )
    return replace(decoder_spec(config, "granite"), scales=scales)


FAMILY = Family("granite", ("GraniteForCausalLM",), granite_spec)
