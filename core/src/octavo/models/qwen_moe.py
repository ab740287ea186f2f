"""Qwen2-MoE and Qwen3-MoE: Qwen with experts, beside them one that all tokens share, in Qwen2.

Weights are shares of all experts or of the chosen ones, as `norm_topk_prob` says. Which layers
have experts is said by `decoder_sparse_step` and `mlp_only_layers`.
Source: arXiv 2407.10671 section 2.2.2 and arXiv 2505.09388.

Knows nothing of how a layer is written (`mixture`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.errors import ModelError
from octavo.models import mixture
from octavo.models.experts import ExpertSpec, expert_spec
from octavo.models.family import Family
from octavo.models.naming import Naming
from octavo.models.qwen import qwen2_spec, qwen3_spec
from octavo.models.reading import Config, flag, whole
from octavo.models.spec import DecoderSpec
from octavo.models.stacking import numbered


def qwen2_moe_spec(config: Config) -> DecoderSpec:
    """Read the config of a Qwen1.5-MoE or Qwen2-MoE model."""
    bias = flag(config, "qkv_bias", default=True)
    spec = replace(qwen2_spec(config), architecture="qwen2_moe", attention_bias=bias)
    width = whole(config, "shared_expert_intermediate_size")
    experts = replace(experts_of(config, "num_experts"), shared_width=width, shared_gate=True)
    return replace(spec, experts=experts)


def qwen3_moe_spec(config: Config) -> DecoderSpec:
    """Read the config of a Qwen3-MoE model."""
    count = "num_experts" if "num_experts" in config else "num_local_experts"
    spec = replace(qwen3_spec(config), architecture="qwen3_moe")
    return replace(spec, experts=experts_of(config, count))


def names(spec: DecoderSpec) -> Naming:
    """Find the experts, which are numbered."""
    assert spec.experts is not None
    return Naming(inside=numbered(spec.experts, spec.width))


def experts_of(config: Config, count: str) -> ExpertSpec:
    """Read which experts a config of Qwen has, and in which layers."""
    renormalise = flag(config, "norm_topk_prob", default=False)
    found = expert_spec(config, count=count, renormalise=renormalise)
    step, dense = whole(config, "decoder_sparse_step", 1), config.get("mlp_only_layers") or ()
    if not isinstance(dense, list | tuple):
        raise ModelError("config.json: 'mlp_only_layers' has to be a list of layers")
    own = (each for each in found.layers if (each + 1) % step == 0 and each not in dense)
    return replace(found, layers=frozenset(own))


QWEN2_MOE = Family("qwen2_moe", ("Qwen2MoeForCausalLM",), qwen2_moe_spec, names, mixture.layer)
QWEN3_MOE = Family("qwen3_moe", ("Qwen3MoeForCausalLM",), qwen3_moe_spec, names, mixture.layer)
