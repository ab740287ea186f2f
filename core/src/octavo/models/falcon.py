"""Falcon: attention and MLP side by side, few KV heads or one, projections stored joined.

Falcon-RW has ALiBi in place of rotary positions, layers one after the other, and heads of their
own. Falcon scales scores after their slopes were added to them, so slopes are scaled here.
Source: arXiv 2311.16867 and 2306.01116. transformers rounds what is added to bfloat16 whatever
the dtype, which here is float32: from 256 positions on, and with slopes that are no powers of two,
its logits are off by that rounding.

Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.alibi import slopes
from octavo.models.family import Family
from octavo.models.naming import Fused, Naming, at, attention_of
from octavo.models.reading import Config, flag, in_these_words, whole
from octavo.models.spec import DecoderSpec, Norms, NormSpec, decoder_spec

WORDS = {
    "hidden_act": "activation",
    "intermediate_size": "ffn_hidden_size",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "attention_bias": "bias",
    "mlp_bias": "bias",
}


def falcon_spec(config: Config) -> DecoderSpec:
    """Read the config of a Falcon model."""
    own: dict[str, object] = {"layer_norm_epsilon": 1e-5, "max_position_embeddings": 2048}
    own.update(in_these_words(config, WORDS))
    is_recent = flag(config, "new_decoder_architecture", default=False)
    heads = whole(own, "num_attention_heads")
    shared = 1 if flag(config, "multi_query", default=True) else heads
    own["num_key_value_heads"] = whole(own, "num_kv_heads", heads) if is_recent else shared
    own["intermediate_size"] = whole(own, "intermediate_size", 4 * whole(own, "hidden_size"))
    has_alibi = flag(config, "alibi", default=False)
    spec = decoder_spec(
        own,
        "falcon",
        activation="gelu",
        eps="layer_norm_epsilon",
        is_tied=True,
        has_rope=not has_alibi,
    )
    scale = spec.head_width**-0.5
    is_parallel = is_recent or flag(config, "parallel_attn", default=True)
    norms = Norms(before_mlp=None if is_parallel else "post_attention_layernorm")
    if is_recent and whole(config, "num_ln_in_parallel_attn", 2) == 2:
        norms = Norms(before_attention="ln_attn", before_mlp="ln_mlp")
    return replace(
        spec,
        is_gated=False,
        is_parallel=is_parallel,
        norm=NormSpec("layer_norm", has_bias=True),
        norms=norms,
        slopes=tuple(each * scale for each in slopes(heads)) if has_alibi else (),
    )


def names(spec: DecoderSpec) -> Naming:
    """Find queries, keys and values by groups that share a KV head."""
    shared = spec.heads // spec.kv_heads
    qkv = Fused(
        "self_attention.query_key_value",
        spec.kv_heads,
        (shared, 1, 1),
        spec.head_width,
        spec.width,
    )
    return Naming(
        "transformer.h.",
        {
            "model.embed_tokens": "transformer.word_embeddings",
            "model.norm": "transformer.ln_f",
        },
        {
            **attention_of(qkv),
            "self_attn.o_proj": at("self_attention.dense"),
            "mlp.up_proj": at("mlp.dense_h_to_4h"),
            "mlp.down_proj": at("mlp.dense_4h_to_h"),
        },
    )


FAMILY = Family("falcon", ("FalconForCausalLM",), falcon_spec, names)
