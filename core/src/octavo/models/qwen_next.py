"""Qwen3-Next: the gated delta rule in most layers, attention with a gate in the others, experts.

Norms are by 1 + weight, but for the mixers' own. Projections of a mixer are stored by key head.
Source: arXiv 2412.06464 and the models' code in Hugging Face transformers.
Knows nothing of how layers are written (`mamba`, `mixture`, `dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.errors import ModelError
from octavo.graph.builder import GraphBuilder
from octavo.models import dense, mamba, mixture
from octavo.models.decoder import Context
from octavo.models.family import Family
from octavo.models.memory import MemorySpec
from octavo.models.naming import Fused, Made, Naming, at_once, joined, shaped
from octavo.models.qwen_moe import experts_of
from octavo.models.reading import Config, whole
from octavo.models.spec import DecoderSpec, HeadNorms, NormSpec, decoder_spec
from octavo.models.stacking import numbered
from octavo_platforms.graph import Value

EVERY = 4


def qwen3_next_spec(config: Config) -> DecoderSpec:
    """Read the config of a Qwen3-Next model."""
    own = {"num_key_value_heads": 2, **config, "head_dim": whole(config, "head_dim", 256)}
    spec = decoder_spec(own, "qwen3_next", partial=0.25)
    attending = _attending(config, spec.layers)
    experts = replace(
        experts_of({"norm_topk_prob": True, **config}, "num_experts"),
        shared_width=whole(config, "shared_expert_intermediate_size", 512),
        shared_gate=True,
    )
    memory = MemorySpec(
        kind="delta",
        layers=tuple(each for each in range(spec.layers) if each not in attending),
        heads=whole(config, "linear_num_value_heads", 32),
        width=whole(config, "linear_value_head_dim", 128),
        shared_heads=whole(config, "linear_num_key_heads", 16),
        numbers=whole(config, "linear_key_head_dim", 128),
        taps=whole(config, "linear_conv_kernel_dim", 4),
        eps=spec.eps,
    )
    return replace(
        spec,
        attending=attending,
        memory=memory,
        experts=experts,
        norm=NormSpec(offset=1.0),
        head_norms=HeadNorms("head"),
        has_gated_attention=True,
    )


def layer(g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
    """Write one layer: attention or a mixer, and experts."""
    attend = None if context.spec.attends(index) else _mixer
    return dense.layer(g, x, context, index, attend=attend, feed=mixture.feed)


def names(spec: DecoderSpec) -> Naming:
    """Find the experts, the gates beside queries, and the parts of the mixers."""
    assert spec.experts is not None
    assert spec.memory is not None
    asked = Fused("self_attn.q_proj", spec.heads, (1, 1), spec.head_width, spec.width)
    attention = {"self_attn.q_proj": asked.run(0), "self_attn.gate_proj": asked.run(1)}
    own = {**numbered(spec.experts, spec.width), **attention, **_mixer_names(spec.memory, spec)}
    return Naming(inside=own)


def _mixer(g: GraphBuilder, h: Value, context: Context, index: int) -> Value:
    with g.scope("linear_attn"):
        return mamba.delta(g, h, context, index)


def _mixer_names(memory: MemorySpec, spec: DecoderSpec) -> dict[str, Made]:
    place, groups = "linear_attn", memory.shared_heads
    each = memory.heads // groups
    runs = (memory.numbers, memory.numbers, each * memory.width, each * memory.width)
    mixed = Fused(f"{place}.in_proj_qkvz", groups, runs, 1, spec.width)
    small = Fused(f"{place}.in_proj_ba", groups, (each, each), 1, spec.width)
    return {
        f"{place}.mixed": joined(mixed.run(0), mixed.run(1), mixed.run(2)),
        f"{place}.gate": mixed.run(3),
        f"{place}.beta": small.run(0),
        f"{place}.steps": small.run(1),
        f"{place}.A_log": at_once(f"{place}.A_log"),
        f"{place}.dt": at_once(f"{place}.dt_bias"),
        f"{place}.conv1d": shaped(f"{place}.conv1d", (memory.mixed, memory.taps)),
    }


def _attending(config: Config, layers: int) -> tuple[int, ...]:
    found = config.get("layer_types")
    step = whole(config, "full_attention_interval", EVERY)
    if not isinstance(found, list | tuple):
        found = ["linear" if (each + 1) % step else "full_attention" for each in range(layers)]
    attending = tuple(each for each, kind in enumerate(found) if kind == "full_attention")
    if not attending or len(found) != layers:
        raise ModelError(
            "config.json: 'layer_types' has to name one kind for each layer, and one "
            "of them full_attention"
        )
    return attending


FAMILY = Family("qwen3_next", ("Qwen3NextForCausalLM",), qwen3_next_spec, names, layer)
