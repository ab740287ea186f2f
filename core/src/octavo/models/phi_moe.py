"""Phi-3.5-MoE: Phi-3 with layer norms and experts, each weighed against those near it.

A token's second expert is chosen, and weighed, as if the first was not there.
Source: arXiv 2404.14219 and 2409.12136. Knows nothing of how a layer is written (`mixture`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models import mixture
from octavo.models.experts import expert_spec
from octavo.models.family import Family
from octavo.models.mixtral import names
from octavo.models.reading import Config, flag, number
from octavo.models.spec import DecoderSpec, NormSpec, decoder_spec, with_sights

JITTER = 0.01


def phi_moe_spec(config: Config) -> DecoderSpec:
    """Read the config of a Phi-3.5-MoE model.

    It is trained with noise in its router; the noise's range says what counts as near.
    """
    found = expert_spec(
        config, count="num_local_experts", renormalise=False, width="intermediate_size"
    )
    experts = replace(
        found, score="near", nearness=2 * number(config, "router_jitter_noise", JITTER)
    )
    spec = replace(
        decoder_spec(config, "phimoe", theta=1e6),
        experts=experts,
        norm=NormSpec("layer_norm", has_bias=True),
        logits_bias=flag(config, "lm_head_bias", default=False),
    )
    return with_sights(spec, config, None)


FAMILY = Family(
    "phimoe", ("PhiMoEForCausalLM", "PhimoeForCausalLM"), phi_moe_spec, names, mixture.layer
)
