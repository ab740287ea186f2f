"""DeepSeek V2 and V3: latents for keys and values, groups of experts, dense layers in front.

V2 takes shares of a softmax, and groups by their best expert; V3 sigmoids with a bias that helps
to choose, and groups by their two best.
Source: arXiv 2405.04434 and 2412.19437. Knows nothing of how layers are written (`latent`,
`mixture`, `dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.graph.builder import GraphBuilder
from octavo.models import dense, latent, mixture
from octavo.models.decoder import Context
from octavo.models.experts import ExpertSpec, expert_spec
from octavo.models.family import Family
from octavo.models.naming import Naming, at_once
from octavo.models.reading import Config, flag, number, refuse, whole
from octavo.models.rope import grown, scaling_of
from octavo.models.spec import DecoderSpec, LatentSpec, decoder_spec
from octavo.models.stacking import numbered
from octavo_platforms.graph import Value

EPS = 1e-6
"""That of the norms of latents, whatever the config says of the others."""


def layer(g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
    """Write one decoder layer."""
    return dense.layer(g, x, context, index, attend=latent.attention, feed=mixture.feed)


def deepseek_v2_spec(config: Config) -> DecoderSpec:
    """Read the config of a DeepSeek V2 model. Raises: NotBuilt, for weights that are shared out."""
    refuse(config, "deepseek_v2", norm_topk_prob=False)
    experts = _experts({"n_shared_experts": 2, **config}, first_dense=0)
    if config.get("topk_method", "greedy") != "greedy":
        refuse(config, "deepseek_v2", topk_method="group_limited_greedy")
        experts = _grouped(config, experts)
    factor = number(config, "routed_scaling_factor", 1.0)
    spec = _spec(config, "deepseek_v2", query_rank=1536)
    return replace(spec, experts=replace(experts, factor=factor))


def deepseek_v3_spec(config: Config) -> DecoderSpec:
    """Read the config of a DeepSeek V3 or R1 model."""
    refuse(config, "deepseek_v3", topk_method="noaux_tc", scoring_func="sigmoid")
    own = {"n_shared_experts": 1, "n_group": 8, "topk_group": 4, **config}
    experts = replace(
        _grouped(own, _experts(own, first_dense=3)),
        renormalise=flag(config, "norm_topk_prob", default=True),
        score="sigmoid",
        group_score="two best",
        factor=number(config, "routed_scaling_factor", 2.5),
        has_correction=True,
    )
    return replace(_spec(config, "deepseek_v3", query_rank=1536), experts=experts)


def names(spec: DecoderSpec) -> Naming:
    """Find the experts, which are numbered, and the bias that helps to choose."""
    assert spec.experts is not None
    correction = {"mlp.gate.correction": at_once("mlp.gate.e_score_correction_bias")}
    return Naming(inside={**numbered(spec.experts, spec.width), **correction})


def _spec(config: Config, name: str, *, query_rank: int) -> DecoderSpec:
    turned, plain = whole(config, "qk_rope_head_dim", 64), whole(config, "qk_nope_head_dim", 128)
    own = {**config, "head_dim": turned}
    spec = decoder_spec(own, name)
    is_compressed = config.get("q_lora_rank", query_rank) is not None
    found = LatentSpec(
        rank=whole(config, "kv_lora_rank", 512),
        query_rank=whole(config, "q_lora_rank", query_rank) if is_compressed else None,
        plain_width=plain,
        turned_width=turned,
        value_width=whole(config, "v_head_dim", 128),
        scale=(plain + turned) ** -0.5 * _sharper(config),
        eps=EPS,
    )
    is_interleaved = flag(config, "rope_interleave", default=True)
    return replace(spec, latent=found, is_interleaved=is_interleaved)


def _sharper(config: Config) -> float:
    """Give the factor on scores where positions are stretched. Source: arXiv 2309.00071."""
    scaling = scaling_of(config)
    every = number(scaling, "mscale_all_dim", 0.0)
    if scaling.get("rope_type", scaling.get("type", "default")) == "default" or not every:
        return 1.0
    return grown(number(scaling, "factor"), every) ** 2


def _experts(config: Config, *, first_dense: int) -> ExpertSpec:
    found = expert_spec(config, count="n_routed_experts", renormalise=False)
    given = config.get("first_k_dense_replace", first_dense)
    first = whole(config, "first_k_dense_replace", first_dense) if given else 0
    step = whole(config, "moe_layer_freq", 1)
    own = frozenset(each for each in found.layers if each >= first and each % step == 0)
    count = whole(config, "n_shared_experts") if config.get("n_shared_experts") else 0
    return replace(
        found,
        layers=own,
        is_wide=True,
        shared_name="shared_experts",
        shared_width=count * found.width,
    )


def _grouped(config: Config, experts: ExpertSpec) -> ExpertSpec:
    groups, best = whole(config, "n_group", 1), whole(config, "topk_group", 1)
    return replace(experts, groups=groups, top_groups=best)


V2 = Family(
    "deepseek_v2", ("DeepseekV2ForCausalLM",), deepseek_v2_spec, names, layer, latent.planes
)
V3 = Family(
    "deepseek_v3", ("DeepseekV3ForCausalLM",), deepseek_v3_spec, names, layer, latent.planes
)
