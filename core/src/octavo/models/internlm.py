"""InternLM 3: Llama, whose configs call its biases otherwise.

InternLM 2 comes with code of its own only, and is not built.
Source: arXiv 2403.17297. Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.reading import Config, flag, in_these_words, whole
from octavo.models.spec import DecoderSpec, decoder_spec

WORDS = {"attention_bias": "qkv_bias", "mlp_bias": "bias"}


def internlm3_spec(config: Config) -> DecoderSpec:
    """Read the config of an InternLM 3 model."""
    own = in_these_words({**config, "head_dim": whole(config, "head_dim", 128)}, WORDS)
    spec = decoder_spec(own, "internlm3")
    return replace(spec, output_bias=flag(config, "bias", default=spec.output_bias))


FAMILY = Family("internlm3", ("InternLM3ForCausalLM",), internlm3_spec)
