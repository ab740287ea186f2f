"""OPT: learned positions, the first two rows of which nobody uses, and a plain MLP with relu.

Source: arXiv 2205.01068. Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.naming import Naming, at, below
from octavo.models.reading import Config, flag, in_these_words, refuse, whole
from octavo.models.spec import DecoderSpec, Norms, NormSpec, Places, decoder_spec

SKIPPED = 2
EPS = 1e-5


def opt_spec(config: Config) -> DecoderSpec:
    """Read the config of an OPT model. Raises: NotBuilt, for norms behind the residual."""
    refuse(config, "opt", do_layer_norm_before=True, _remove_final_layer_norm=False)
    refuse(config, "opt", layer_norm_elementwise_affine=True)
    refuse(config, "opt", word_embed_proj_dim=whole(config, "hidden_size"))
    own = in_these_words({"ffn_dim": 3072, **config}, {"intermediate_size": "ffn_dim"})
    spec = decoder_spec(
        {**own, "norm_eps": EPS},
        "opt",
        activation="relu",
        eps="norm_eps",
        is_tied=True,
        has_rope=False,
    )
    bias = flag(config, "enable_bias", default=True)
    return replace(
        spec,
        attention_bias=bias,
        output_bias=bias,
        mlp_bias=bias,
        is_gated=False,
        norm=NormSpec("layer_norm", has_bias=True),
        norms=Norms(before_attention="self_attn_layer_norm", before_mlp="final_layer_norm"),
        places=Places(spec.max_context_tokens + SKIPPED, SKIPPED),
    )


def names(spec: DecoderSpec) -> Naming:
    """Find the weights below the decoder."""
    places = spec.places
    assert places is not None, "an OPT spec has learned positions"
    return Naming(
        "model.decoder.layers.",
        {
            "model.embed_tokens": "model.decoder.embed_tokens",
            "model.embed_positions": below(
                "model.decoder.embed_positions", places.skipped, places.rows
            ),
            "model.norm": "model.decoder.final_layer_norm",
        },
        {
            "self_attn.o_proj": at("self_attn.out_proj"),
            "mlp.up_proj": at("fc1"),
            "mlp.down_proj": at("fc2"),
        },
    )


FAMILY = Family("opt", ("OPTForCausalLM",), opt_spec, names)
