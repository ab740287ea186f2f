"""Phi-3 and Phi-4: Llama whose projections are stored joined, and whose positions may be stretched.

Source: arXiv 2404.14219 and 2412.08905. Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from octavo.models.family import Family
from octavo.models.naming import Fused, Naming, attention_of
from octavo.models.reading import Config
from octavo.models.spec import DecoderSpec, decoder_spec, with_sights


def phi3_spec(config: Config) -> DecoderSpec:
    """Read the config of a Phi-3 or Phi-4 model: every layer slides, where there is a window."""
    return with_sights(decoder_spec(config, "phi3"), config, None)


def names(spec: DecoderSpec) -> Naming:
    """Find queries, keys and values in one tensor, gate and up in another."""
    runs = (spec.heads, spec.kv_heads, spec.kv_heads)
    qkv = Fused("self_attn.qkv_proj", 1, runs, spec.head_width, spec.width)
    ffn = Fused("mlp.gate_up_proj", 1, (1, 1), spec.ffn_width, spec.width)
    inside = {"mlp.gate_proj": ffn.run(0), "mlp.up_proj": ffn.run(1)}
    return Naming(inside={**attention_of(qkv), **inside})


FAMILY = Family("phi3", ("Phi3ForCausalLM",), phi3_spec, names)
