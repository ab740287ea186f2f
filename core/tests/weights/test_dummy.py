"""Drawn weights: the same on every start, of a size that a signal survives, and no file is read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from octavo import LLM, SamplingParams
from octavo.config import from_environment
from octavo.errors import ModelError
from octavo.loading import load
from octavo.testing.broken.files import CONFIG, tensors, write_config, write_gguf
from octavo.testing.loaded import byte_backend
from octavo.testing.toys import llama
from octavo.weights import find
from octavo.weights.dummy import DummyWeights
from octavo.weights.load import from_checkpoint
from octavo_platforms.recipes import Take


def drawn(seed: int = 0) -> DummyWeights:
    return DummyWeights(seed).of(llama.program(llama.spec()))


def test_weight_depends_on_the_seed_and_its_name_alone() -> None:
    name, other = "model.layers.0.self_attn.k_proj.weight", "model.layers.1.self_attn.k_proj.weight"
    first = drawn().read(name).array
    np.testing.assert_array_equal(drawn().read(name).array, first)
    assert not np.array_equal(drawn().read(other).array, first)
    assert not np.array_equal(drawn(seed=1).read(name).array, first)


def test_what_a_projection_makes_is_as_large_as_what_it_reads() -> None:
    weight = drawn().read("model.layers.0.mlp.down_proj.weight").array.astype(np.float64)
    rows = np.random.default_rng(0).standard_normal((200, weight.shape[1]))
    assert 0.9 < np.std(rows @ weight.T) < 1.1


def test_norms_are_ones_and_biases_zeros() -> None:
    source = DummyWeights(0).of(llama.program(llama.spec(attention_bias=True)))
    assert set(source.read("model.norm.weight").array) == {1.0}
    assert set(source.read("model.layers.0.self_attn.q_proj.bias").array) == {0.0}


def test_config_alone_becomes_a_model_that_answers_the_same_each_time(tmp_path: Path) -> None:
    write_config(tmp_path, dtype="float32", eos_token_id=100)
    (tmp_path / "tokenizer.json").write_text(byte_backend().to_str())
    settings = replace(
        from_environment({}),
        model=str(tmp_path),
        device="oracle",
        max_requests=2,
        load_format="dummy",
    )
    greedy = SamplingParams(temperature=0, max_tokens=6, ignore_eos=True)

    def answer(seed: int) -> list[int]:
        llm = LLM(load(replace(settings, seed=seed)))
        (output,) = llm.generate([[1, 2, 3]], greedy, use_tqdm=False)
        return list(output.outputs[0].token_ids)

    assert answer(0) == answer(0)
    assert len(answer(0)) == 6
    assert answer(0) != answer(1)


def test_gguf_file_may_be_the_config(tmp_path: Path) -> None:
    path = write_gguf(tmp_path, tensors())
    found = find(str(path), load_format="dummy")
    assert (found.format, found.config["hidden_size"]) == ("dummy", CONFIG["hidden_size"])
    program = from_checkpoint(llama.program(llama.spec()), found)
    assert all(weight.recipe == Take(weight.name) for weight in program.weights)


def test_load_format_that_is_not_known_is_refused_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({}))
    with pytest.raises(ModelError, match=r"'dumy' is not known. Choose one of: auto, dummy"):
        find(str(tmp_path), load_format="dumy")
