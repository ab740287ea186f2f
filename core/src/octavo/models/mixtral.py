"""Mixtral: Mistral with experts, of which the chosen ones share out everything.

Source: arXiv 2401.04088. Knows nothing of how a layer is written (`mixture`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models import mixture
from octavo.models.experts import expert_spec
from octavo.models.family import Family
from octavo.models.naming import Naming, at
from octavo.models.reading import Config
from octavo.models.spec import DecoderSpec, decoder_spec, with_sights
from octavo.models.stacking import numbered


def mixtral_spec(config: Config) -> DecoderSpec:
    """Read the config of a Mixtral model."""
    experts = expert_spec(
        config, count="num_local_experts", renormalise=True, width="intermediate_size"
    )
    spec = decoder_spec(config, "mixtral", theta=1e6)
    return with_sights(replace(spec, experts=experts), config, None)


def names(spec: DecoderSpec) -> Naming:
    """Find the experts, whose gate, down and up are w1, w2 and w3."""
    assert spec.experts is not None
    place = "block_sparse_moe.experts"
    own = numbered(spec.experts, spec.width, place=place, gate="w1", up="w3", down="w2")
    return Naming(inside={**own, "mlp.gate": at("block_sparse_moe.gate")})


FAMILY = Family("mixtral", ("MixtralForCausalLM",), mixtral_spec, names, mixture.layer)
