"""GPT-2: learned positions, norms with biases, a plain MLP; weights are stored as [I, O].

Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.naming import Fused, Naming, at, attention_of, transposed
from octavo.models.reading import Config, in_these_words, refuse, whole
from octavo.models.spec import DecoderSpec, Norms, NormSpec, Places, decoder_spec

WORDS = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
    "intermediate_size": "n_inner",
    "hidden_act": "activation_function",
}
LEFT_OUT: Config = {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024}
"""What a config means by saying nothing of it: the smallest of these models."""


def gpt2_spec(config: Config) -> DecoderSpec:
    """Read the config of a GPT-2 model. Raises: NotBuilt, for scores scaled otherwise."""
    refuse(config, "gpt2", scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False)
    refuse(config, "gpt2", add_cross_attention=False)
    own = in_these_words({**LEFT_OUT, **config}, WORDS)
    own = {
        **own,
        "intermediate_size": whole(own, "intermediate_size", 4 * whole(own, "hidden_size")),
    }
    spec = decoder_spec(
        {"layer_norm_epsilon": 1e-5, **own},
        "gpt2",
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
        norms=Norms(before_attention="ln_1", before_mlp="ln_2"),
        places=Places(spec.max_context_tokens),
    )


def names(spec: DecoderSpec) -> Naming:
    """Find the weights, all of which are turned around, the three projections in one."""
    width, ffn = spec.width, spec.ffn_width
    runs = (spec.heads,) * 3
    qkv = Fused("attn.c_attn", 1, runs, spec.head_width, width, is_transposed=True)
    return Naming(
        "transformer.h.",
        {
            "model.embed_tokens": "transformer.wte",
            "model.embed_positions": "transformer.wpe",
            "model.norm": "transformer.ln_f",
        },
        {
            **attention_of(qkv),
            "self_attn.o_proj": transposed("attn.c_proj", width, width),
            "mlp.up_proj": transposed("mlp.c_fc", width, ffn),
            "mlp.down_proj": transposed("mlp.c_proj", ffn, width),
            "ln_1": at("ln_1"),
            "ln_2": at("ln_2"),
        },
    )


FAMILY = Family("gpt2", ("GPT2LMHeadModel",), gpt2_spec, names)
