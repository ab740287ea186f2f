"""StarCoder2: layer norms, biases everywhere, a plain MLP, and a window.

Source: arXiv 2402.19173. Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.naming import Naming, at
from octavo.models.reading import Config, flag
from octavo.models.spec import DecoderSpec, NormSpec, decoder_spec, with_sights


def starcoder2_spec(config: Config) -> DecoderSpec:
    """Read the config of a StarCoder2 model."""
    own = {"norm_epsilon": 1e-5, "num_key_value_heads": 2, **config}
    spec = decoder_spec(
        own, "starcoder2", activation="gelu_pytorch_tanh", eps="norm_epsilon", is_tied=True
    )
    bias = flag(config, "use_bias", default=True)
    spec = replace(
        spec,
        attention_bias=bias,
        output_bias=bias,
        mlp_bias=bias,
        is_gated=False,
        norm=NormSpec("layer_norm", has_bias=True),
    )
    return with_sights(spec, config, None)


def names(spec: DecoderSpec) -> Naming:
    """Find the MLP under its own names."""
    return Naming(inside={"mlp.up_proj": at("mlp.c_fc"), "mlp.down_proj": at("mlp.c_proj")})


FAMILY = Family("starcoder2", ("Starcoder2ForCausalLM",), starcoder2_spec, names)
