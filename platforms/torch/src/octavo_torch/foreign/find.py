"""Finding a checkpoint's class in transformers, by its config.

What a config asks for and we could not keep is refused here by name: code of its own, packed
weights, memory beside attention, rotary positions that look at the whole step.

Knows nothing of how modules are run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    PreTrainedConfig,
    PreTrainedModel,
)

from octavo_platforms.foreign import ForeignSpec
from octavo_torch.foreign.refused import Refused

# Their angles follow the longest context of a step, so that batch mates would change tokens.
ROPES_OF_THE_STEP = frozenset({"dynamic", "longrope"})


@dataclass(frozen=True, slots=True)
class Architecture:
    """A checkpoint and the class of transformers that runs it."""

    name: str
    path: Path
    config: PreTrainedConfig
    module: type[PreTrainedModel]
    max_context_tokens: int


def found(spec: ForeignSpec) -> Architecture:
    """Find the class of a checkpoint. Raises: Refused."""
    kind = spec.config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise Refused(
            f"transformers has no model type '{kind}' of its own, and code that comes with a "
            "checkpoint is never run"
        )
    if spec.config.get("quantization_config"):
        raise Refused("its weights are quantised, which is not built for models without a graph")
    config, text = _configs(kind, spec.path)
    module = _module(config, spec.config.get("architectures"))
    if getattr(module, "_is_stateful", False):
        raise Refused(f"{module.__name__} remembers more than keys and values")
    for rope in _ropes(text):
        if rope in ROPES_OF_THE_STEP:
            raise Refused(f"rotary positions of the type '{rope}' would depend on batch mates")
    longest = getattr(text, "max_position_embeddings", None)
    if not isinstance(longest, int) or longest < 1:
        raise Refused("its config names no max_position_embeddings")
    return Architecture(module.__name__, spec.path, config, module, longest)


def _configs(kind: str, path: Path) -> tuple[PreTrainedConfig, PreTrainedConfig]:
    """Read a config, and find the part of it that is about text. Raises: Refused."""
    try:
        config: PreTrainedConfig = CONFIG_MAPPING[kind].from_pretrained(path, local_files_only=True)
        return config, config.get_text_config()
    except Exception as error:  # every class checks its own config in its own way
        words = " ".join(str(error).split())
        raise Refused(f"transformers does not take its config ({words})") from error


def _module(config: PreTrainedConfig, named: object) -> type[PreTrainedModel]:
    listed = [str(each) for each in named] if isinstance(named, list | tuple) else []
    known = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    modules = known if isinstance(known, tuple) else (known,)
    for module in modules:
        if module is not None and module.__name__ in listed:
            made: type[PreTrainedModel] = module
            return made
    raise Refused(
        f"transformers generates no text with {', '.join(listed) or 'an architecture not named'}"
    )


def _ropes(config: PreTrainedConfig) -> Iterator[str]:
    """Walk the types of rotary positions, which a config gives at once or for kinds of layers."""
    found = getattr(config, "rope_parameters", None)
    if not isinstance(found, Mapping):
        return
    for each in (found, *found.values()):
        if isinstance(each, Mapping) and isinstance(each.get("rope_type"), str):
            yield each["rope_type"]
