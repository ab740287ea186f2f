"""The naming rule, against llama.cpp's permutation and a real pair of files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from octavo.errors import ModelError
from octavo.weights import find
from octavo.weights.rules import gguf_rule
from octavo_platforms.recipes import Take, pull
from octavo_platforms.tensor import Array, DType, HostTensor, host, to_float

CONFIG: Mapping[str, object] = {
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "hidden_size": 10,
}


class Arrays:
    """A source of arrays in memory."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays

    def names(self) -> frozenset[str]:
        return frozenset(self._arrays)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._arrays[name].shape

    def dtype(self, name: str) -> DType:
        return host(self._arrays[name]).dtype

    def read(self, name: str) -> HostTensor:
        return host(self._arrays[name])


def interleaved(weights: npt.NDArray[np.float32], num_heads: int) -> npt.NDArray[np.float32]:
    """Store rows as llama.cpp does, row by row: pair i of a head at rows 2i and 2i + 1."""
    stored = np.empty_like(weights)
    half = len(weights) // num_heads // 2
    for head in range(num_heads):
        start = head * 2 * half
        for pair in range(half):
            stored[start + 2 * pair] = weights[start + pair]
            stored[start + 2 * pair + 1] = weights[start + half + pair]
    return stored


@pytest.mark.parametrize(("part", "heads"), [("q", 3), ("k", 1)])
def test_rows_of_queries_and_keys_come_back_in_their_order(part: str, heads: int) -> None:
    weight = np.arange(heads * 8 * 10, dtype=np.float32).reshape(heads * 8, 10)
    bias = weight[:, 0].copy()
    source = Arrays(
        {
            f"blk.5.attn_{part}.weight": interleaved(weight, heads),
            f"blk.5.attn_{part}.bias": interleaved(bias, heads),
        }
    )
    rule = gguf_rule("llama", CONFIG, source.names())
    name = f"model.layers.5.self_attn.{part}_proj"
    np.testing.assert_array_equal(pull(rule(f"{name}.weight"), source).array, weight)
    np.testing.assert_array_equal(pull(rule(f"{name}.bias"), source).array, bias)


def test_missing_output_projection_is_the_embedding() -> None:
    tied = gguf_rule("llama", CONFIG, {"token_embd.weight"})
    untied = gguf_rule("llama", CONFIG, {"token_embd.weight", "output.weight"})
    assert tied("lm_head.weight") == Take("token_embd.weight")
    assert untied("lm_head.weight") == Take("output.weight")


@pytest.mark.parametrize("name", ["model.layers.0.self_attn.q_norm.weight", "visual.weight", "x"])
def test_name_that_a_llama_model_lacks_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=f"no tensor for '{name}'"):
        gguf_rule("llama", CONFIG, ())(name)


def test_demo_file_holds_the_weights_of_its_folder(demo_gguf: Path, demo_folder: Path) -> None:
    quantised, original = find(str(demo_gguf)), find(str(demo_folder))
    for part in ("self_attn.q_proj", "self_attn.k_proj", "mlp.down_proj", "input_layernorm"):
        name = f"model.layers.7.{part}.weight"
        ours = to_float(pull(quantised.recipe(name), quantised.source))
        theirs = to_float(pull(original.recipe(name), original.source))
        assert ours.shape == theirs.shape
        # Four bits a weight, in blocks with a range of their own, lose well under one per cent.
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99, name


def test_demo_file_answers_every_name_of_its_folder(demo_gguf: Path, demo_folder: Path) -> None:
    quantised, original = find(str(demo_gguf)), find(str(demo_folder))
    for name in original.source.names():
        match quantised.recipe(name):
            case Take(stored):
                assert quantised.source.shape(stored) == original.source.shape(name)
            case recipe:
                assert pull(recipe, quantised.source).shape == original.source.shape(name)
