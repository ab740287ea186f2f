"""The registry: which family an architecture's name belongs to.

One row a family. Knows no checkpoint file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from octavo.errors import ModelError
from octavo.models import llama
from octavo.models.decoder import Layer, Limits, generator
from octavo.models.spec import Config, DecoderSpec, llama_spec
from octavo_platforms.program import ProgramDef
from octavo_platforms.tensor import DType


@dataclass(frozen=True, slots=True)
class Family:
    """How a family reads a config and writes a layer."""

    name: str
    spec: Callable[[Config], DecoderSpec]
    layer: Layer

    def program(self, spec: DecoderSpec, *, dtype: DType, limits: Limits) -> ProgramDef:
        """Write the model as a program."""
        return generator(spec, self.layer, dtype=dtype, limits=limits)


FAMILY_OF: Mapping[str, Family] = MappingProxyType(
    {"LlamaForCausalLM": Family("llama", llama_spec, llama.layer)}
)


def find_family(config: Config) -> Family | None:
    """Find the family of a checkpoint; None for an architecture that is not built."""
    for name in _architectures(config):
        if name in FAMILY_OF:
            return FAMILY_OF[name]
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
    return f"config.json: the architecture ({found}) is not built. Built: {', '.join(FAMILY_OF)}."


def _architectures(config: Config) -> list[str]:
    names = config.get("architectures")
    return [str(name) for name in names] if isinstance(names, list | tuple) else []
