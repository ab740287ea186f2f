"""Falcon-H1: attention and Mamba-2 side by side in each layer, and numbers on everything.

Both read the same norm, and both are added to the rows at once. The number on keys is one on
scores. Where x, B and C of the mixer have numbers, each is mixed for itself.
Source: arXiv 2507.22448. Knows nothing of how parts of a layer are written (`mamba`, `dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.errors import ModelError
from octavo.graph.builder import GraphBuilder
from octavo.models import dense
from octavo.models.bamba import MLP, NORMS, memory_of, mixer, mixer_names, refuse_step_limits
from octavo.models.decoder import Context
from octavo.models.family import Family
from octavo.models.memory import Beside
from octavo.models.naming import Made, Naming, at, rows_of
from octavo.models.reading import Config, flag, number, numbers, refuse, whole
from octavo.models.spec import DecoderSpec, Scales, decoder_spec
from octavo_platforms.graph import Value


def falcon_h1_spec(config: Config) -> DecoderSpec:
    """Read the config of a Falcon-H1 model. Raises: NotBuilt, for biases of projections."""
    refuse(config, "falcon_h1", projectors_bias=False, mamba_proj_bias=False)
    refuse_step_limits(config, "falcon_h1")
    spec = decoder_spec(config, "falcon_h1")
    layers, heads = tuple(range(spec.layers)), whole(config, "mamba_n_heads", 128)
    memory = replace(memory_of(config, layers, heads=heads), eps=spec.eps)
    inner = config.get("mamba_d_ssm")
    if inner is not None and memory.inner != inner:
        raise ModelError(f"config.json: 'mamba_d_ssm' is not {heads} heads of {memory.width}")
    is_outside = flag(config, "mamba_norm_before_gate", default=True)
    has_norm = flag(config, "mamba_rms_norm", default=False)
    gate, down = _numbers(config, "mlp_multipliers", 2)
    beside = Beside(
        attention_in=number(config, "attention_in_multiplier", 1.0),
        attention_out=number(config, "attention_out_multiplier", 1.0),
        mixer_in=number(config, "ssm_in_multiplier", 1.0),
        mixer_out=number(config, "ssm_out_multiplier", 1.0),
        mlp_gate=gate,
        mlp_out=down,
    )
    memory = replace(
        memory,
        gate=("outside" if is_outside else "inside") if has_norm else "alone",
        scales=_numbers(config, "ssm_multipliers", 5),
        beside=beside,
    )
    scales = Scales(
        embedding=number(config, "embedding_multiplier", 1.0),
        attention=spec.head_width**-0.5 * number(config, "key_multiplier", 1.0),
        logits=number(config, "lm_head_multiplier", 1.0),
    )
    return replace(spec, memory=memory, scales=scales, norms=NORMS)


def layer(g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
    """Write one layer."""
    return dense.layer(g, x, context, index, attend=_side_by_side, feed=_feed)


def names(spec: DecoderSpec) -> Naming:
    """Find the mixers, whose convolution is stored as one, the MLPs and the last norm."""
    memory = spec.memory
    assert memory is not None, "every layer of this family has a mixer"
    mlp = {f"mlp.{name}": at(f"feed_forward.{name}") for name in MLP}
    conv: dict[str, Made] = {}
    first = 0
    for name, width in memory.parts:
        conv[f"mamba.conv1d.{name}"] = rows_of("mamba.conv1d", first, first + width, memory.taps)
        first += width
    return Naming(
        outside={"model.norm": "model.final_layernorm"},
        inside={**mixer_names(memory), **mlp, **conv},
    )


def _side_by_side(g: GraphBuilder, h: Value, context: Context, index: int) -> Value:
    own = _beside(context)
    mixed = mixer(g, g.one("scale", h, factor=own.mixer_in), context, index)
    read = g.one("scale", h, factor=own.attention_in)
    attended = dense.attention(g, read, context, index)
    mixed = g.one("scale", mixed, factor=own.mixer_out)
    return g.one("add", mixed, g.one("scale", attended, factor=own.attention_out))


def _feed(g: GraphBuilder, h: Value, context: Context, index: int) -> Value:
    spec, own = context.spec, _beside(context)
    bias = spec.mlp_bias
    with g.scope("mlp"):
        gate = g.linear(h, "gate_proj", spec.ffn_width, bias=bias)
        up = g.linear(h, "up_proj", spec.ffn_width, bias=bias)
        gate = dense.active(g, g.one("scale", gate, factor=own.mlp_gate), spec)
        made = g.linear(g.one("mul", gate, up), "down_proj", spec.width, bias=bias)
        return g.one("scale", made, factor=own.mlp_out)


def _beside(context: Context) -> Beside:
    memory = context.spec.memory
    assert memory is not None, "every layer of this family has a mixer"
    assert memory.beside is not None, "and attention beside it"
    return memory.beside


def _numbers(config: Config, key: str, count: int) -> tuple[float, ...]:
    return numbers(config, key, count) or (1.0,) * count


FAMILY = Family("falcon_h1", ("FalconH1ForCausalLM",), falcon_h1_spec, names, layer)
