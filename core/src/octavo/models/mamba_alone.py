"""Mamba, FalconMamba and Mamba-2: models of nothing but mixers, which have no attention and no MLP.

    x ─norm─> mixer ─> + x

What passes between layers is float32 where the config says so. FalconMamba is Mamba with norms of
what steps, B and C are made of. No state stands in blocks, and no context is too long for one of
these models; `LONGEST` is what is offered where a config says nothing.
Source: arXiv 2312.00752, 2410.05355 and 2405.21060, and the models' code in Hugging Face
transformers. Knows nothing of how a mixer is written (`mamba`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.errors import ModelError
from octavo.graph.builder import GraphBuilder
from octavo.models import mamba
from octavo.models.bamba import mixer_names, step_limits
from octavo.models.decoder import Context
from octavo.models.family import Family
from octavo.models.memory import MemorySpec
from octavo.models.naming import Naming
from octavo.models.norms import norm
from octavo.models.reading import Config, flag, number, refuse, whole
from octavo.models.rope import NO_ROPE
from octavo.models.spec import DecoderSpec
from octavo_platforms.graph import Value
from octavo_platforms.tensor import DType

LONGEST = 1 << 18
PLACE = "mixer"


def mamba_spec(config: Config) -> DecoderSpec:
    """Read the config of a Mamba model. Raises: NotBuilt, for another activation."""
    return _of_mamba(config, "mamba")


def falcon_mamba_spec(config: Config) -> DecoderSpec:
    """Read the config of a FalconMamba model. Raises: NotBuilt, for another activation."""
    spec = _of_mamba(config, "falcon_mamba")
    assert spec.memory is not None
    eps = number(config, "mixer_rms_eps", 1e-6)
    return replace(spec, memory=replace(spec.memory, norms="plain", eps=eps))


def mamba2_spec(config: Config) -> DecoderSpec:
    """Read the config of a Mamba-2 model. Raises: NotBuilt, for another activation."""
    heads, width = whole(config, "num_heads", 128), whole(config, "head_dim", 64)
    if heads * width != whole(config, "expand", 2) * whole(config, "hidden_size"):
        raise ModelError(
            f"config.json: {heads} heads of {width} are not 'expand' times the model's width"
        )
    low, high = step_limits(config)
    memory = replace(
        _memory(config),
        kind="mamba2",
        heads=heads,
        width=width,
        shared_heads=whole(config, "n_groups", 8),
        numbers=whole(config, "state_size", 128),
        gate="inside",
        low=low,
        high=high,
    )
    return _alone(config, "mamba2", memory, is_tied=False)


def layer(g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
    """Write one layer."""
    spec = context.spec
    assert spec.memory is not None
    h = norm(g, _in(g, x, g.dtype), "norm", spec)
    with g.scope(PLACE):
        made = mamba.mixer(g, h, context, index)
    if spec.memory.is_wide:
        x, made = _in(g, x, "float32"), _in(g, made, "float32")
    x = g.one("add", x, made)
    return _in(g, x, g.dtype) if index == spec.layers - 1 else x


def names(spec: DecoderSpec) -> Naming:
    """Find everything under `backbone`, and the parts of mixers."""
    assert spec.memory is not None
    return Naming(
        "backbone.layers.",
        outside={"model.embed_tokens": "backbone.embeddings", "model.norm": "backbone.norm_f"},
        inside=mixer_names(spec.memory, PLACE),
    )


def _of_mamba(config: Config, architecture: str) -> DecoderSpec:
    width = whole(config, "hidden_size")
    given = config.get("time_step_rank", "auto")
    rank = -(-width // 16) if given == "auto" else whole(config, "time_step_rank")
    return _alone(config, architecture, replace(_memory(config), rank=rank), is_tied=True)


def _memory(config: Config) -> MemorySpec:
    """Read what all of them say; of features and numbers what Mamba has."""
    return MemorySpec(
        kind="mamba1",
        layers=tuple(range(whole(config, "num_hidden_layers"))),
        heads=whole(config, "expand", 2) * whole(config, "hidden_size"),
        width=1,
        shared_heads=1,
        numbers=whole(config, "state_size", 16),
        taps=whole(config, "conv_kernel", 4),
        eps=number(config, "layer_norm_epsilon", 1e-5),
        has_bias=flag(config, "use_bias", default=False),
        has_conv_bias=flag(config, "use_conv_bias", default=True),
        is_wide=flag(config, "residual_in_fp32", default=True),
    )


def _alone(config: Config, architecture: str, memory: MemorySpec, *, is_tied: bool) -> DecoderSpec:
    refuse(config, architecture, hidden_act="silu")
    return DecoderSpec(
        architecture=architecture,
        vocab_size=whole(config, "vocab_size"),
        width=whole(config, "hidden_size"),
        ffn_width=0,
        layers=whole(config, "num_hidden_layers"),
        heads=0,
        kv_heads=0,
        head_width=0,
        eps=number(config, "layer_norm_epsilon", 1e-5),
        rope=NO_ROPE,
        attention_bias=False,
        mlp_bias=False,
        tied_embeddings=flag(config, "tie_word_embeddings", default=is_tied),
        max_context_tokens=whole(config, "max_position_embeddings", LONGEST),
        attending=(),
        memory=memory,
    )


def _in(g: GraphBuilder, x: Value, dtype: DType) -> Value:
    return x if g.type_of(x).dtype == dtype else g.one("cast", x, to=dtype)


MAMBA = Family("mamba", ("MambaForCausalLM",), mamba_spec, names, layer)
FALCON_MAMBA = Family("falcon_mamba", ("FalconMambaForCausalLM",), falcon_mamba_spec, names, layer)
MAMBA2 = Family("mamba2", ("Mamba2ForCausalLM",), mamba2_spec, names, layer)
