"""BLOOM: ALiBi, a norm of embeddings, and projections stored joined by head.

Source: arXiv 2211.05100. Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.alibi import slopes
from octavo.models.family import Family
from octavo.models.naming import Fused, Naming, at, attention_of
from octavo.models.reading import Config, in_these_words, refuse, whole
from octavo.models.spec import DecoderSpec, Norms, NormSpec, decoder_spec

CONTEXT_TOKENS = 2048  # what the published models were trained with, where a config says nothing
WORDS = {
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "seq_length",
}


def bloom_spec(config: Config) -> DecoderSpec:
    """Read the config of a BLOOM model. Raises: NotBuilt, for residuals behind norms."""
    refuse(config, "bloom", apply_residual_connection_post_layernorm=False)
    words = {**WORDS, "hidden_size": "n_embed"}
    own = {"max_position_embeddings": CONTEXT_TOKENS, **in_these_words(config, words)}
    own["intermediate_size"] = 4 * whole(own, "hidden_size")
    own["num_key_value_heads"] = whole(own, "num_attention_heads")
    spec = decoder_spec(
        {"layer_norm_epsilon": 1e-5, **own},
        "bloom",
        activation="gelu_new",
        eps="layer_norm_epsilon",
        is_tied=True,
        has_rope=False,
    )
    return replace(
        spec,
        attention_bias=True,
        output_bias=True,
        mlp_bias=True,
        is_gated=False,
        norm=NormSpec("layer_norm", has_bias=True),
        norms=Norms(embedding="embed_norm"),
        slopes=slopes(spec.heads),
    )


def names(spec: DecoderSpec) -> Naming:
    """Find queries, keys and values head by head."""
    qkv = Fused(
        "self_attention.query_key_value", spec.heads, (1, 1, 1), spec.head_width, spec.width
    )
    return Naming(
        "transformer.h.",
        {
            "model.embed_tokens": "transformer.word_embeddings",
            "model.embed_norm": "transformer.word_embeddings_layernorm",
            "model.norm": "transformer.ln_f",
        },
        {
            **attention_of(qkv),
            "self_attn.o_proj": at("self_attention.dense"),
            "mlp.up_proj": at("mlp.dense_h_to_4h"),
            "mlp.down_proj": at("mlp.dense_4h_to_h"),
        },
    )


FAMILY = Family("bloom", ("BloomForCausalLM",), bloom_spec, names)
