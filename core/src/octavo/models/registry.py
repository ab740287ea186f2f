"""The registry: which family an architecture's name belongs to.

One row a family, of those that generate and of those that encode. Knows no checkpoint file.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from octavo.errors import ModelError
from octavo.models import (
    bamba,
    bert,
    bloom,
    cohere,
    deepseek,
    exaone,
    falcon,
    falcon_h1,
    gemma,
    glm,
    gpt2,
    gpt_neox,
    gpt_oss,
    granite,
    granite_moe,
    internlm,
    jamba,
    llama,
    mamba_alone,
    mistral,
    mixtral,
    modernbert,
    mpt,
    nemotron,
    nomic,
    olmo,
    olmoe,
    opt,
    phi,
    phi_moe,
    qwen,
    qwen_moe,
    qwen_next,
    smollm,
    stablelm,
    starcoder2,
)
from octavo.models.encoder import EncoderFamily
from octavo.models.family import Family
from octavo.models.reading import Config

FAMILIES: tuple[Family, ...] = (
    llama.FAMILY,
    mistral.FAMILY,
    mistral.MINISTRAL,
    mistral.MINISTRAL3,
    qwen.QWEN2,
    qwen.QWEN3,
    gemma.GEMMA,
    gemma.GEMMA2,
    gemma.GEMMA3,
    phi.FAMILY,
    gpt2.FAMILY,
    gpt_neox.FAMILY,
    opt.FAMILY,
    falcon.FAMILY,
    bloom.FAMILY,
    mpt.FAMILY,
    stablelm.FAMILY,
    starcoder2.FAMILY,
    granite.FAMILY,
    olmo.OLMO,
    olmo.OLMO2,
    olmo.OLMO3,
    cohere.COHERE,
    cohere.COHERE2,
    glm.GLM,
    glm.GLM4,
    internlm.INTERNLM2,
    internlm.INTERNLM3,
    exaone.FAMILY,
    smollm.FAMILY,
    nemotron.FAMILY,
    mixtral.FAMILY,
    phi_moe.FAMILY,
    qwen_moe.QWEN2_MOE,
    qwen_moe.QWEN3_MOE,
    olmoe.FAMILY,
    granite_moe.FAMILY,
    deepseek.V2,
    deepseek.V3,
    gpt_oss.FAMILY,
    qwen_next.FAMILY,
    bamba.FAMILY,
    falcon_h1.FAMILY,
    mamba_alone.MAMBA,
    mamba_alone.FALCON_MAMBA,
    mamba_alone.MAMBA2,
    jamba.FAMILY,
)

FAMILY_OF: Mapping[str, Family] = MappingProxyType(
    {name: family for family in FAMILIES for name in family.architectures}
)

BODY, WHOLE = "Model", "ForCausalLM"

ENCODERS: tuple[EncoderFamily, ...] = (
    bert.BERT,
    bert.ROBERTA,
    modernbert.FAMILY,
    nomic.FAMILY,
)

ENCODER_OF: Mapping[str, EncoderFamily] = MappingProxyType(
    {name: each for each in ENCODERS for name in (*each.architectures, *each.classifiers)}
)


def find_family(config: Config) -> Family | None:
    """Find the family of a checkpoint; None for an architecture that is not built."""
    for name in _architectures(config):
        if name in FAMILY_OF:
            return FAMILY_OF[name]
    return None


def find_encoder(config: Config) -> EncoderFamily | None:
    """Find the family of a checkpoint that encodes; None for any other."""
    for name in _architectures(config):
        if name in ENCODER_OF:
            return ENCODER_OF[name]
    return None


def find_body(config: Config) -> Family | None:
    """Find the family that a checkpoint has the layers of, but no head: it cannot generate."""
    for name in _architectures(config):
        if name.endswith(BODY) and (whole := name.removesuffix(BODY) + WHOLE) in FAMILY_OF:
            return FAMILY_OF[whole]
    return None


def family(config: Config) -> Family:
    """Find the family of a checkpoint.

    Raises: ModelError, for an architecture that is not built, with those that are.
    """
    found = find_family(config)
    if found is None:
        raise ModelError(not_built(config))
    return found


def not_built(config: Config) -> str:
    """Say that a checkpoint's architecture is not built, and which ones are."""
    found = ", ".join(_architectures(config)) or "none named"
    built = ", ".join((*FAMILY_OF, *ENCODER_OF))
    return f"config.json: the architecture ({found}) is not built. Built: {built}."


def _architectures(config: Config) -> list[str]:
    names = config.get("architectures")
    return [str(name) for name in names] if isinstance(names, list | tuple) else []
