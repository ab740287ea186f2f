"""InternLM 2 and 3: Llama by other names, projections stored joined in the second.

InternLM 2 stores queries, keys and values by groups that share a KV head.
Source: arXiv 2403.17297. Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.naming import Fused, Naming, at, attention_of
from octavo.models.reading import Config, flag, in_these_words, whole
from octavo.models.spec import DecoderSpec, decoder_spec

WORDS2 = {"attention_bias": "bias"}
WORDS3 = {"attention_bias": "qkv_bias", "mlp_bias": "bias"}


def internlm2_spec(config: Config) -> DecoderSpec:
    """Read the config of an InternLM 2 or 2.5 model."""
    return decoder_spec(in_these_words(config, WORDS2), "internlm2")


def internlm3_spec(config: Config) -> DecoderSpec:
    """Read the config of an InternLM 3 model."""
    own = in_these_words({**config, "head_dim": whole(config, "head_dim", 128)}, WORDS3)
    spec = decoder_spec(own, "internlm3")
    return replace(spec, output_bias=flag(config, "bias", default=spec.output_bias))


def names2(spec: DecoderSpec) -> Naming:
    """Find the weights of an InternLM 2 model."""
    runs = (spec.heads // spec.kv_heads, 1, 1)
    qkv = Fused("attention.wqkv", spec.kv_heads, runs, spec.head_width, spec.width)
    return Naming(
        outside={"model.embed_tokens": "model.tok_embeddings", "lm_head": "output"},
        inside={
            **attention_of(qkv),
            "self_attn.o_proj": at("attention.wo"),
            "mlp.gate_proj": at("feed_forward.w1"),
            "mlp.up_proj": at("feed_forward.w3"),
            "mlp.down_proj": at("feed_forward.w2"),
            "input_layernorm": at("attention_norm"),
            "post_attention_layernorm": at("ffn_norm"),
        },
    )


INTERNLM2 = Family("internlm2", ("InternLM2ForCausalLM",), internlm2_spec, names2)
INTERNLM3 = Family("internlm3", ("InternLM3ForCausalLM",), internlm3_spec)
