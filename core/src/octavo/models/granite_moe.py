"""Granite with experts, whose weights are stored as one tensor.

Source: "Granite 3.0 Language Models", IBM, 2024; arXiv 2408.13359.
Knows nothing of how a layer is written (`mixture`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models import mixture
from octavo.models.experts import expert_spec
from octavo.models.family import Family
from octavo.models.granite import granite_spec
from octavo.models.naming import Naming, at
from octavo.models.reading import Config
from octavo.models.spec import DecoderSpec
from octavo.models.stacking import whole


def granite_moe_spec(config: Config) -> DecoderSpec:
    """Read the config of a Granite model with experts."""
    experts = expert_spec(
        config, count="num_local_experts", renormalise=True, width="intermediate_size"
    )
    return replace(granite_spec(config), architecture="granitemoe", experts=experts)


def names(spec: DecoderSpec) -> Naming:
    """Find the experts, gate above up, and the router."""
    place = "block_sparse_moe"
    own = whole(f"{place}.input_linear", f"{place}.output_linear")
    return Naming(inside={**own, "mlp.gate": at(f"{place}.router.layer")})


FAMILY = Family("granitemoe", ("GraniteMoeForCausalLM",), granite_moe_spec, names, mixture.layer)
