"""Jamba: layers of Mamba, with attention in some of them, and experts in place of some MLPs.

Attention knows no positions. Steps, B and C of a mixer have norms; experts' weights are shares of
all experts, not of those that were chosen.
Source: arXiv 2403.19887 and the models' code in Hugging Face transformers. Knows nothing of how
layers are written (`mamba`, `mixture`, `dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.errors import ModelError
from octavo.graph.builder import GraphBuilder
from octavo.models import dense, mixture
from octavo.models.bamba import MLP, NORMS, mixer, mixer_names
from octavo.models.decoder import Context
from octavo.models.experts import expert_spec
from octavo.models.family import Family
from octavo.models.memory import MemorySpec
from octavo.models.naming import Made, Naming, at
from octavo.models.reading import Config, flag, refuse, whole
from octavo.models.spec import DecoderSpec, decoder_spec
from octavo.models.stacking import numbered
from octavo_platforms.graph import Value


def jamba_spec(config: Config) -> DecoderSpec:
    """Read the config of a Jamba model. Raises: NotBuilt, for another activation."""
    refuse(config, "jamba", hidden_act="silu")
    spec = decoder_spec(config, "jamba", has_rope=False)
    attending = _every(config, "attn_layer", spec.layers, period=8, offset=4)
    if not attending:
        raise ModelError("config.json: no layer attends, by 'attn_layer_period' and its offset")
    spec = replace(spec, attending=attending, memory=_memory(config, spec), norms=NORMS)
    if whole(config, "num_experts", 16) == 1:
        return spec
    experts = expert_spec(
        {"num_experts": 16, "num_experts_per_tok": 2, **config},
        count="num_experts",
        renormalise=False,
        width="intermediate_size",
    )
    chosen = _every(config, "expert_layer", spec.layers, period=2, offset=1)
    return replace(spec, experts=replace(experts, layers=frozenset(chosen)))


def layer(g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
    """Write one layer: attention or a mixer, and the MLP or experts."""
    attend = None if context.spec.attends(index) else mixer
    return dense.layer(g, x, context, index, attend=attend, feed=mixture.feed)


def names(spec: DecoderSpec) -> Naming:
    """Find the mixers, the MLPs, the experts and the last norm."""
    assert spec.memory is not None
    inside: dict[str, Made] = {f"mlp.{name}": at(f"feed_forward.{name}") for name in MLP}
    inside |= mixer_names(spec.memory)
    if spec.experts is not None:
        inside |= numbered(spec.experts, spec.width, place="feed_forward.experts")
        inside["mlp.gate"] = at("feed_forward.router")
    return Naming(outside={"model.norm": "model.final_layernorm"}, inside=inside)


def _memory(config: Config, spec: DecoderSpec) -> MemorySpec:
    given = config.get("mamba_dt_rank", "auto")
    attending = _every(config, "attn_layer", spec.layers, period=8, offset=4)
    return MemorySpec(
        kind="mamba1",
        layers=tuple(each for each in range(spec.layers) if each not in attending),
        heads=whole(config, "mamba_expand", 2) * spec.width,
        width=1,
        shared_heads=1,
        numbers=whole(config, "mamba_d_state", 16),
        taps=whole(config, "mamba_d_conv", 4),
        eps=spec.eps,
        has_bias=flag(config, "mamba_proj_bias", default=False),
        has_conv_bias=flag(config, "mamba_conv_bias", default=True),
        rank=-(-spec.width // 16) if given == "auto" else whole(config, "mamba_dt_rank"),
        norms="weighted",
    )


def _every(config: Config, kind: str, layers: int, *, period: int, offset: int) -> tuple[int, ...]:
    """Give every so-and-so-many-th layer from some layer on."""
    step, first = whole(config, f"{kind}_period", period), config.get(f"{kind}_offset", offset)
    if isinstance(first, bool) or not isinstance(first, int) or not 0 <= first < step:
        raise ModelError(f"config.json: '{kind}_offset' has to be a layer below {step}")
    return tuple(each for each in range(layers) if each % step == first)


FAMILY = Family("jamba", ("JambaForCausalLM",), jamba_spec, names, layer)
