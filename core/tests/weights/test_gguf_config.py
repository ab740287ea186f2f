"""A GGUF file's config, against config.json's words and against the Llama 3.1 formula."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from octavo.errors import ModelError
from octavo.weights.gguf import GGUFFile
from octavo.weights.gguf_config import gguf_config

WriteGGUF = Callable[..., Path]
EMBEDDING = np.zeros((3, 8), np.float32)


def test_config_speaks_in_the_words_of_config_json(write_gguf: WriteGGUF) -> None:
    assert gguf_config(GGUFFile(write_gguf(numbers={"tokenizer.ggml.eos_token_id": 2}))) == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 4,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "max_position_embeddings": 64,
        "vocab_size": 3,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": None,
        "pad_token_id": None,
        "eos_token_id": 2,
    }


def test_demo_file_has_the_config_of_its_folder(demo_gguf: Path, demo_folder: Path) -> None:
    config = gguf_config(GGUFFile(demo_gguf))
    original = json.loads((demo_folder / "config.json").read_text())
    assert config == {key: original.get(key) for key in config}


def test_several_ends_are_all_given(write_gguf: WriteGGUF) -> None:
    ids = {"tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.eot_token_id": 1}
    assert gguf_config(GGUFFile(write_gguf(numbers=ids)))["eos_token_id"] == [2, 1]


def test_output_projection_of_its_own_unties_the_embedding(write_gguf: WriteGGUF) -> None:
    path = write_gguf(tensors={"token_embd.weight": EMBEDDING, "output.weight": EMBEDDING})
    assert gguf_config(GGUFFile(path))["tie_word_embeddings"] is False


def test_other_architecture_is_refused_by_name(write_gguf: WriteGGUF) -> None:
    with pytest.raises(ModelError, match=r"architecture 'mamba'; known in GGUF files are: llama"):
        gguf_config(GGUFFile(write_gguf(architecture="mamba")))


def test_llama_with_experts_is_another_model_and_says_how_many_it_asks(
    write_gguf: WriteGGUF,
) -> None:
    numbers = {"llama.expert_count": 8, "llama.expert_used_count": 2}
    config = gguf_config(GGUFFile(write_gguf("both.gguf", numbers=numbers)))
    assert config["architectures"] == ["MixtralForCausalLM"]
    assert (config["num_local_experts"], config["num_experts_per_tok"]) == (8, 2)
    with pytest.raises(ModelError, match=r"does not say llama\.expert_used_count"):
        gguf_config(GGUFFile(write_gguf(numbers={"llama.expert_count": 8})))


def test_unknown_scaling_of_positions_is_refused_by_name(write_gguf: WriteGGUF) -> None:
    with pytest.raises(ModelError, match="'longrope'; known: linear, yarn"):
        gguf_config(GGUFFile(write_gguf(texts={"llama.rope.scaling.type": "longrope"})))


def llama3_factor(pair: int, factor: float) -> float:
    """Compute one factor as the published code does, wave by wave."""
    wavelength = 2 * math.pi * math.pow(5e5, 2 * pair / 8)
    if wavelength < 8192 / 4:
        return 1.0
    if wavelength > 8192 / 1:
        return factor
    smooth = (8192 / wavelength - 1) / (4 - 1)
    return 1 / ((1 - smooth) / factor + smooth)


def test_llama3_scaling_is_recovered_from_its_factors(write_gguf: WriteGGUF) -> None:
    factors = np.array([llama3_factor(pair, 32.0) for pair in range(4)], np.float32)
    tensors = {"token_embd.weight": EMBEDDING, "rope_freqs.weight": factors}
    path = write_gguf(tensors=tensors, numbers={"llama.attention.key_length": 8}, theta=5e5)
    assert gguf_config(GGUFFile(path))["rope_scaling"] == {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


def test_factors_that_follow_no_known_formula_are_refused(write_gguf: WriteGGUF) -> None:
    tensors = {"token_embd.weight": EMBEDDING, "rope_freqs.weight": np.array([1, 2], np.float32)}
    with pytest.raises(ModelError, match="factors of its own"):
        gguf_config(GGUFFile(write_gguf(tensors=tensors)))
