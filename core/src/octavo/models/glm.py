"""GLM-4: half of each head turns, in interleaved pairs; gate and up are stored joined.

The models of 2024 (`Glm`) have Llama's norms, those of 2025 (`Glm4`) more of them, around
attention and MLP.
Source: arXiv 2406.12793 and the models' code in Hugging Face transformers.

Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.naming import Fused, Naming
from octavo.models.reading import Config, whole
from octavo.models.spec import DecoderSpec, Norms, decoder_spec

HEAD_WIDTH = 128
AROUND = Norms(
    before_attention="input_layernorm",
    after_attention="post_self_attn_layernorm",
    before_mlp="post_attention_layernorm",
    after_mlp="post_mlp_layernorm",
)


def glm_spec(config: Config) -> DecoderSpec:
    """Read the config of a GLM-4 model of 2024."""
    return _spec(config, "glm")


def glm4_spec(config: Config) -> DecoderSpec:
    """Read the config of a GLM-4 model of 2025."""
    return replace(_spec(config, "glm4"), norms=AROUND)


def names(spec: DecoderSpec) -> Naming:
    """Find gate and up in one tensor."""
    ffn = Fused("mlp.gate_up_proj", 1, (1, 1), spec.ffn_width, spec.width)
    return Naming(inside={"mlp.gate_proj": ffn.run(0), "mlp.up_proj": ffn.run(1)})


def _spec(config: Config, name: str) -> DecoderSpec:
    own = {"attention_bias": True, "num_key_value_heads": 2, **config}
    own = {**own, "head_dim": whole(config, "head_dim", HEAD_WIDTH)}
    spec = decoder_spec(own, name, partial=0.5)
    return replace(spec, output_bias=False, is_interleaved=True)


GLM = Family("glm", ("GlmForCausalLM",), glm_spec, names)
GLM4 = Family("glm4", ("Glm4ForCausalLM",), glm4_spec, names)
