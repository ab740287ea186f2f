"""The text model inside a checkpoint that also sees: what its config says, what its tensors are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from octavo.models.reading import Config
from octavo.models.registry import family
from octavo.weights.language import text_config, text_source
from octavo_platforms.tensor import DType, HostTensor, host

GEMMA: Config = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "quantization_config": {"quant_method": "gptq"},
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "sliding_window": 1024,
    },
    "vision_config": {"model_type": "siglip_vision_model"},
}
NAMES = {
    "model.norm.weight": ("language_model.model.norm.weight", "model.language_model.norm.weight"),
    "lm_head.weight": ("language_model.lm_head.weight", "lm_head.weight"),
}
SEEN = ("vision_tower.x.weight", "multi_modal_projector.y", "model.vision_tower.x.weight")


class Files:
    """A source that knows each tensor's name, and gives its number."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def names(self) -> tuple[str, ...]:
        return self._names

    def shape(self, name: str) -> tuple[int, ...]:
        return self.read(name).array.shape

    def dtype(self, name: str) -> DType:
        return "float32"

    def read(self, name: str) -> HostTensor:
        return host(np.full(1, self._names.index(name), np.float32))

    def fill(self, name: str, into: HostTensor) -> None:
        into.array[...] = self.read(name).array

    def file_of(self, name: str) -> Path:
        return Path(name)

    def ahead(self, name: str) -> None:
        self.read(name)

    def kind(self, name: str) -> str:
        return f"type {self._names.index(name)}"


def test_config_of_the_text_model_says_what_its_class_has_as_a_default() -> None:
    found = text_config(GEMMA)
    spec = family(found).spec(found)
    assert (spec.architecture, spec.layers, spec.heads, spec.kv_heads) == ("gemma3", 34, 8, 4)
    assert (spec.vocab_size, spec.width, spec.tied_embeddings) == (262208, 2560, True)
    assert found["quantization_config"] == {"quant_method": "gptq"}
    untied = text_config({**GEMMA, "tie_word_embeddings": False})
    assert not family(untied).spec(untied).tied_embeddings


@pytest.mark.parametrize(
    "config",
    [
        {"architectures": ["LlamaForCausalLM"], "text_config": {"model_type": "gemma3_text"}},
        {**GEMMA, "text_config": {"model_type": "never heard of"}},
        {"architectures": ["Gemma3ForConditionalGeneration"]},
    ],
)
def test_config_without_a_text_model_that_is_known_is_left_as_it_is(config: Config) -> None:
    assert text_config(config) is config


@pytest.mark.parametrize("age", [0, 1])
def test_tensors_have_the_names_of_the_text_model_alone(age: int) -> None:
    stored = [names[age] for names in NAMES.values()]
    found = text_source(Files(*SEEN, *stored))
    assert set(found.names()) == set(NAMES)
    for index, name in enumerate(NAMES):
        into = host(np.zeros(1, np.float32))
        found.fill(name, into)
        assert into.array == found.read(name).array == index + len(SEEN)
        assert found.file_of(name) == Path(stored[index])
        assert found.kind(name) == f"type {index + len(SEEN)}"
        assert (found.shape(name), found.dtype(name)) == ((1,), "float32")
