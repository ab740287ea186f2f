"""MPT: ALiBi, no biases, clipped projections, three of which are stored as one.

Its config says how it attends in an object of its own, `attn_config`. What only its authors' code
can do, and no published model does, is refused: learned or rotary positions, keys that heads share,
norms of heads, prefixes that see both ways.
Source: https://github.com/mosaicml/llm-foundry, `llmfoundry/models/mpt`. It is followed where
transformers reads `alibi_bias_max` and takes 8 all the same, which changes mpt-7b-storywriter.

Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.alibi import STEEPEST, slopes
from octavo.models.family import Family
from octavo.models.naming import Fused, Naming, at, attention_of
from octavo.models.reading import (
    Config,
    flag,
    in_these_words,
    mapping,
    maybe_number,
    number,
    refuse,
    whole,
)
from octavo.models.spec import DecoderSpec, Norms, NormSpec, Scales, decoder_spec

WORDS = {
    "hidden_size": "d_model",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "max_position_embeddings": "max_seq_len",
}
LEFT_OUT: Config = {"d_model": 2048, "n_layers": 24, "n_heads": 16, "max_seq_len": 2048}
"""What a config means by saying nothing of it."""
NORMS = (None, "low_precision_layernorm", "layernorm")  # they differ in how they round


def mpt_spec(config: Config) -> DecoderSpec:
    """Read the config of an MPT model. Raises: NotBuilt, for other positions, heads or norms."""
    attention = mapping(config, "attn_config") or {}
    refuse(attention, "mpt", alibi=True, attn_type="multihead_attention", rope=False)
    refuse(attention, "mpt", prefix_lm=False, qk_ln=False, qk_gn=False, attn_uses_sequence_id=False)
    if config.get("norm_type") not in NORMS:
        refuse(config, "mpt", norm_type=NORMS[1])
    refuse(mapping(config, "ffn_config") or {}, "mpt", ffn_type="mptmlp")
    if config.get("logit_scale") is not None:
        refuse(config, "mpt", logit_scale=None)
    own = dict(in_these_words({**LEFT_OUT, **config}, WORDS))
    heads = whole(own, "num_attention_heads")
    own["intermediate_size"] = whole(own, "expansion_ratio", 4) * whole(own, "hidden_size")
    own["num_key_value_heads"] = heads
    spec = decoder_spec(
        {"layer_norm_epsilon": 1e-5, **own},
        "mpt",
        activation="gelu",
        eps="layer_norm_epsilon",
        is_tied=True,
        has_rope=False,
    )
    has_bias = not flag(config, "no_bias", default=True)
    return replace(
        spec,
        attention_bias=has_bias,
        output_bias=has_bias,
        mlp_bias=has_bias,
        is_gated=False,
        norm=NormSpec("layer_norm", has_bias=has_bias),
        norms=Norms(before_attention="norm_1", before_mlp="norm_2"),
        scales=Scales(attention=maybe_number(attention, "softmax_scale")),
        slopes=slopes(heads, steepest=number(attention, "alibi_bias_max", STEEPEST)),
        clip=maybe_number(attention, "clip_qkv"),
    )


def names(spec: DecoderSpec) -> Naming:
    """Find queries, keys and values one after the other."""
    qkv = Fused("attn.Wqkv", 1, (spec.heads,) * 3, spec.head_width, spec.width)
    return Naming(
        "transformer.blocks.",
        {"model.embed_tokens": "transformer.wte", "model.norm": "transformer.norm_f"},
        {
            **attention_of(qkv),
            "self_attn.o_proj": at("attn.out_proj"),
            "mlp.up_proj": at("ffn.up_proj"),
            "mlp.down_proj": at("ffn.down_proj"),
        },
    )


FAMILY = Family("mpt", ("MPTForCausalLM", "MptForCausalLM"), mpt_spec, names)
