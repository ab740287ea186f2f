"""GPT-OSS: experts with biases and clamped gates, sinks, and windows in every other layer.

A head's sink takes its share of attention and stands for no value. Gate and up are stored woven.
Experts that are published in blocks of four bits are made plain by their source.
Source: arXiv 2508.10925.

Knows nothing of how a layer is written (`mixture`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models import mixture
from octavo.models.experts import ClampSpec, expert_spec
from octavo.models.family import Family
from octavo.models.naming import Naming, at, at_once
from octavo.models.reading import FULL, SLIDING, Config, number, whole
from octavo.models.rope import with_positions
from octavo.models.spec import DecoderSpec, decoder_spec, with_sights
from octavo.models.stacking import woven

LEFT_OUT: Config = {
    "attention_bias": True,
    "sliding_window": 128,
    "rope_parameters": {
        "rope_type": "yarn",
        "rope_theta": 150000.0,
        "factor": 32.0,
        "original_max_position_embeddings": 4096,
        "truncate": False,
    },
}
"""What a config means by saying nothing of it."""


def gpt_oss_spec(config: Config) -> DecoderSpec:
    """Read the config of a GPT-OSS model."""
    experts = replace(
        expert_spec(config, count="num_local_experts", renormalise=True, width="intermediate_size"),
        has_bias=True,
        clamp=ClampSpec(number(config, "swiglu_limit", 7.0), number(config, "swiglu_alpha", 1.702)),
    )
    own = with_positions({**config, "head_dim": whole(config, "head_dim", 64)}, LEFT_OUT)
    spec = replace(decoder_spec(own, "gpt_oss", theta=150000.0), experts=experts, has_sinks=True)
    default = tuple(FULL if index % 2 else SLIDING for index in range(spec.layers))
    return with_sights(spec, own, default)


def names(spec: DecoderSpec) -> Naming:
    """Find the experts, the router and the sinks."""
    assert spec.experts is not None
    place = "mlp.experts"
    own = woven(spec.experts, spec.width, f"{place}.gate_up_proj", f"{place}.down_proj")
    return Naming(
        inside={**own, "mlp.gate": at("mlp.router"), "self_attn.sinks": at_once("self_attn.sinks")}
    )


FAMILY = Family("gpt_oss", ("GptOssForCausalLM",), gpt_oss_spec, names, mixture.layer)
