"""Bamba: layers of Mamba-2, with attention in some of them, and an MLP in each.

Source: the models' card and their code in Hugging Face transformers; arXiv 2405.21060.
Knows nothing of how layers are written (`mamba`, `dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.errors import ModelError
from octavo.graph.builder import GraphBuilder
from octavo.models import dense, mamba
from octavo.models.decoder import Context
from octavo.models.family import Family
from octavo.models.memory import MemorySpec
from octavo.models.naming import Made, Naming, at, at_once, shaped
from octavo.models.reading import Config, flag, numbers, refuse, whole
from octavo.models.spec import DecoderSpec, Norms, decoder_spec
from octavo_platforms.graph import Value

NORMS = Norms(before_mlp="pre_ff_layernorm")


def bamba_spec(config: Config) -> DecoderSpec:
    """Read the config of a Bamba model. Raises: NotBuilt, for steps that are held within limits."""
    refuse_step_limits(config, "bamba")
    spec = decoder_spec(config, "bamba", partial=0.5)
    given = config.get("attn_layer_indices")
    listed = given if isinstance(given, list | tuple) else ()
    known = [each for each in listed if each in range(spec.layers)]
    if not listed or len(known) != len(listed):
        raise ModelError("config.json: 'attn_layer_indices' has to name layers that attend")
    attending = tuple(sorted(known))
    others = tuple(each for each in range(spec.layers) if each not in attending)
    memory = memory_of(config, others, heads=whole(config, "mamba_n_heads", 128))
    memory = replace(memory, gate="inside", eps=spec.eps)
    if memory.inner != whole(config, "mamba_expand", 2) * spec.width:
        raise ModelError(
            f"config.json: {memory.heads} heads of {memory.width} are not 'mamba_expand' times "
            f"the model's width of {spec.width}"
        )
    return replace(spec, attending=attending, memory=memory, norms=NORMS)


def memory_of(config: Config, layers: tuple[int, ...], *, heads: int) -> MemorySpec:
    """Read what configs with keys of the form `mamba_d_...` say of Mamba-2."""
    given = config.get("mamba_d_head", "auto")
    inner = whole(config, "mamba_expand", 2) * whole(config, "hidden_size")
    return MemorySpec(
        kind="mamba2",
        layers=layers,
        heads=heads,
        width=inner // heads if given == "auto" else whole(config, "mamba_d_head"),
        shared_heads=whole(config, "mamba_n_groups", 1),
        numbers=whole(config, "mamba_d_state", 256),
        taps=whole(config, "mamba_d_conv", 4),
        eps=1e-5,
        has_bias=flag(config, "mamba_proj_bias", default=False),
        has_conv_bias=flag(config, "mamba_conv_bias", default=True),
    )


def mixer_names(memory: MemorySpec, place: str = "mamba") -> dict[str, Made]:
    """Find what mixers have without a suffix, or in another shape."""
    groups = memory.shared_heads
    own: dict[str, Made] = {
        f"{place}.A_log": at_once(f"{place}.A_log"),
        f"{place}.D": at_once(f"{place}.D"),
        f"{place}.conv1d": shaped(f"{place}.conv1d", (memory.mixed, memory.taps)),
    }
    if memory.kind == "mamba1":
        return {**own, f"{place}.dt": at(f"{place}.dt_proj")}
    return {
        **own,
        f"{place}.dt": at_once(f"{place}.dt_bias"),
        f"{place}.norm": shaped(f"{place}.norm", (groups, memory.inner // groups)),
    }


def layer(g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
    """Write one layer: attention or a mixer, and the MLP."""
    attend = None if context.spec.attends(index) else mixer
    return dense.layer(g, x, context, index, attend=attend)


def mixer(g: GraphBuilder, h: Value, context: Context, index: int) -> Value:
    """Write a layer's mixer."""
    with g.scope("mamba"):
        return mamba.mixer(g, h, context, index)


def names(spec: DecoderSpec) -> Naming:
    """Find the mixers, the MLPs and the last norm."""
    assert spec.memory is not None
    mlp = {f"mlp.{name}": at(f"feed_forward.{name}") for name in MLP}
    return Naming(
        outside={"model.norm": "model.final_layernorm"},
        inside={**mixer_names(spec.memory), **mlp},
    )


MLP = ("gate_proj", "up_proj", "down_proj")


def refuse_step_limits(config: Config, family: str) -> None:
    """Refuse steps that are held within limits. Raises: NotBuilt."""
    if step_limits(config) != (0.0, None):
        refuse(config, family, time_step_limit=None)


def step_limits(config: Config) -> tuple[float, float | None]:
    """Read between which limits steps are held, None for no upper one. Raises: ModelError."""
    key = "time_step_limit"
    found = config.get(key)
    if isinstance(found, list | tuple) and len(found) == 2 and _is_infinite(found[1]):
        (low,) = numbers({key: found[:1]}, key, 1) or (0.0,)
        return low, None
    low, high = numbers(config, key, 2) or (0.0, None)
    if high is not None and not 0 <= low <= high:
        raise ModelError(f"config.json: '{key}' is {found!r}, not a lower limit and a higher one")
    return low, high


def _is_infinite(limit: object) -> bool:
    words = limit.get("__float__") if isinstance(limit, dict) else limit
    return words == "Infinity" or words == float("inf")


FAMILY = Family("bamba", ("BambaForCausalLM",), bamba_spec, names, layer)
