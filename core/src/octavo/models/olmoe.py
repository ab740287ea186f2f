"""OLMoE: Llama with experts and with norms of whole rows of queries and keys.

Source: arXiv 2409.02060. Knows nothing of how a layer is written (`mixture`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models import mixture
from octavo.models.experts import expert_spec
from octavo.models.family import Family
from octavo.models.naming import Naming
from octavo.models.reading import Config, flag, refuse
from octavo.models.spec import DecoderSpec, HeadNorms, decoder_spec
from octavo.models.stacking import numbered


def olmoe_spec(config: Config) -> DecoderSpec:
    """Read the config of an OLMoE model. Raises: NotBuilt, for clipped projections."""
    refuse(config, "olmoe", clip_qkv=None)
    renormalise = flag(config, "norm_topk_prob", default=False)
    experts = expert_spec(
        config, count="num_experts", renormalise=renormalise, width="intermediate_size"
    )
    spec = decoder_spec(config, "olmoe", eps="rms_norm_eps")
    return replace(spec, experts=experts, head_norms=HeadNorms("row"))


def names(spec: DecoderSpec) -> Naming:
    """Find the experts, which are numbered."""
    assert spec.experts is not None
    return Naming(inside=numbered(spec.experts, spec.width))


FAMILY = Family("olmoe", ("OlmoeForCausalLM",), olmoe_spec, names, mixture.layer)
