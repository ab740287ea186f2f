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


def family(config: Config) -> Family:
    """Find the family of a checkpoint.

    Raises: ModelError, for an architecture that is not built, with those that are.
    """
    names = config.get("architectures")
    listed = [str(name) for name in names] if isinstance(names, list | tuple) else []
    for name in listed:
        if name in FAMILY_OF:
            return FAMILY_OF[name]
    found = ", ".join(listed) or "none named"
    raise ModelError(
        f"config.json: the architecture ({found}) is not built. Built: {', '.join(FAMILY_OF)}."
    )
