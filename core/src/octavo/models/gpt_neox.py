"""GPT-NeoX and Pythia: part of a head turns, attention and MLP side by side.

Source: arXiv 2204.06745 and 2304.01373. Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.naming import Fused, Naming, at, attention_of
from octavo.models.reading import Config, flag, in_these_words
from octavo.models.spec import DecoderSpec, NormSpec, decoder_spec

WORDS = {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"}


def gpt_neox_spec(config: Config) -> DecoderSpec:
    """Read the config of a GPT-NeoX model."""
    own = {"layer_norm_eps": 1e-5, "attention_bias": True, **in_these_words(config, WORDS)}
    spec = decoder_spec(own, "gpt_neox", activation="gelu", eps="layer_norm_eps", partial=0.25)
    return replace(
        spec,
        mlp_bias=True,
        is_gated=False,
        is_parallel=flag(config, "use_parallel_residual", default=True),
        norm=NormSpec("layer_norm", has_bias=True),
    )


def names(spec: DecoderSpec) -> Naming:
    """Find each head's query, key and value one after the other."""
    qkv = Fused("attention.query_key_value", spec.heads, (1, 1, 1), spec.head_width, spec.width)
    return Naming(
        "gpt_neox.layers.",
        {
            "model.embed_tokens": "gpt_neox.embed_in",
            "model.norm": "gpt_neox.final_layer_norm",
            "lm_head": "embed_out",
        },
        {
            **attention_of(qkv),
            "self_attn.o_proj": at("attention.dense"),
            "mlp.up_proj": at("mlp.dense_h_to_4h"),
            "mlp.down_proj": at("mlp.dense_4h_to_h"),
        },
    )


FAMILY = Family("gpt_neox", ("GPTNeoXForCausalLM",), gpt_neox_spec, names)
