"""Llama 2, Llama 3 and everything shaped like them: SmolLM2 among others.

A layer: norm, grouped-query attention with rotary positions, residual; norm, gated MLP,
residual. Its names are those that all weights have here.
Source: arXiv 2302.13971, 2307.09288 and 2407.21783.

Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from octavo.models.family import Family
from octavo.models.reading import Config
from octavo.models.spec import DecoderSpec, decoder_spec


def llama_spec(config: Config) -> DecoderSpec:
    """Read the config of a Llama model."""
    return decoder_spec(config, "llama")


FAMILY = Family("llama", ("LlamaForCausalLM",), llama_spec)
