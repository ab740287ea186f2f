"""The text model of a checkpoint that also sees: its config, and its tensors under their own names.

    text_config                              the config of a text model
    language_model.model.layers.0...         model.layers.0...        as it is published
    model.language_model.layers.0...         model.layers.0...        as transformers 5 saves it
    vision_tower..., multi_modal_projector...                         not read

Such a config leaves out what its class has as a default, which is therefore said here.
Source: transformers, `Gemma3Config` and `Mistral3Config`.

Knows no family's layers, and reads no tensor.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from octavo.models.reading import Config, mapping
from octavo.weights.lowered import FileSource
from octavo_platforms.tensor import DType, HostTensor

NOT_READ = "the part of the model that sees: it answers to text alone"

_OUTER = frozenset({"Gemma3ForConditionalGeneration", "Mistral3ForConditionalGeneration"})
_ARCHITECTURE_OF: Mapping[str, str] = MappingProxyType(
    {
        "gemma3_text": "Gemma3ForCausalLM",
        "mistral": "MistralForCausalLM",
        "ministral3": "Ministral3ForCausalLM",
    }
)
_LEFT_OUT: Mapping[str, Config] = MappingProxyType(
    {
        "gemma3_text": {
            "vocab_size": 262208,
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "max_position_embeddings": 131072,
            "rms_norm_eps": 1e-6,
        },
        "mistral": {
            "vocab_size": 32000,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "max_position_embeddings": 131072,
            "rms_norm_eps": 1e-6,
        },
    }
)
_PARTS = frozenset({"text_config", "vision_config", "model_type"})
_OUTSIDE = ("tie_word_embeddings",)  # what the whole model says, and its text part is not asked
_SEEING = ("vision_tower.", "multi_modal_projector.")
_PLACES = (
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
)


def text_config(config: Config) -> Config:
    """Give the config of the text model inside; the config itself, where there is none inside."""
    outer, inner = config.get("architectures"), mapping(config, "text_config")
    if inner is None or not isinstance(outer, list) or _OUTER.isdisjoint(outer):
        return config
    kind = str(inner.get("model_type"))
    if kind not in _ARCHITECTURE_OF:
        return config
    around = {key: value for key, value in config.items() if key not in _PARTS}
    outside = {key: config[key] for key in _OUTSIDE if key in config}
    own = {**_LEFT_OUT.get(kind, {}), **around, **inner, **outside}
    return {**own, "architectures": [_ARCHITECTURE_OF[kind]]}


def text_source(source: FileSource) -> FileSource:
    """See the tensors of the text model alone, by the names that it has by itself."""
    stored: dict[str, str] = {}
    for name in source.names():
        if name.removeprefix("model.").startswith(_SEEING):
            continue
        own = name
        for theirs, ours in _PLACES:
            if name.startswith(theirs):
                own = ours + name.removeprefix(theirs)
                break
        stored[own] = name
    return Renamed(source, stored)


@dataclass(frozen=True, slots=True)
class Renamed:
    """Some tensors of another source, under other names: `stored` has the old by the new."""

    source: FileSource
    stored: Mapping[str, str]

    def names(self) -> Collection[str]:
        """Give the names of all tensors."""
        return self.stored.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Give a tensor's shape without reading it."""
        return self.source.shape(self.stored[name])

    def dtype(self, name: str) -> DType:
        """Give the dtype that `read` delivers."""
        return self.source.dtype(self.stored[name])

    def file_of(self, name: str) -> Path:
        """Give the file that holds a tensor."""
        return self.source.file_of(self.stored[name])

    def kind(self, name: str) -> str:
        """Give the type that the file stores a tensor in, in its format's own word."""
        return self.source.kind(self.stored[name])

    def ahead(self, name: str) -> None:
        """Have a tensor's bytes fetched from the disk, without waiting for them."""
        self.source.ahead(self.stored[name])

    def read(self, name: str) -> HostTensor:
        """Give one tensor."""
        return self.source.read(self.stored[name])

    def fill(self, name: str, into: HostTensor) -> None:
        """Read one tensor into an array."""
        self.source.fill(self.stored[name], into)
