"""Llama against Hugging Face transformers, on tiny random checkpoints that transformers wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from octavo.sampling import SamplingParams
from octavo.testing.drive import generate
from octavo.testing.law import hold
from octavo_platforms.loaded import Platform

from .reference import ours, reference_logits

VOCAB = 97
SIZES: Mapping[str, object] = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
    "rope_theta": 500000.0,
}
VARIANTS: Mapping[str, Mapping[str, object]] = {
    "llama2": {"num_key_value_heads": 6},
    "grouped": {},
    "tied with biases": {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    "llama3 rope": {"rope_parameters": LLAMA3},
    "linear rope": {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
    "wide heads": {"head_dim": 16},
}


@pytest.fixture(params=list(VARIANTS))
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, LlamaForCausalLM]:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig.from_dict({**SIZES, **VARIANTS[request.param]}))
    model.train(False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    (tmp_path / "tokenizer.json").write_text("{}")
    return tmp_path, model


def prompts() -> list[list[int]]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, VOCAB, size).tolist() for size in (3, 40, 17, 61)]


def test_logits_are_those_of_transformers(
    checkpoint: tuple[Path, LlamaForCausalLM], platform: Platform
) -> None:
    path, model = checkpoint
    running = ours(path, platform)
    prompt = prompts()[-1]
    expected = reference_logits(model, prompt)
    for chunk in (None, 17):
        found = running.logits(prompt, chunk=chunk)
        np.testing.assert_allclose(found, expected, atol=1e-4 * expected.std(), rtol=1e-4)


def test_greedy_tokens_are_those_of_transformers(
    checkpoint: tuple[Path, LlamaForCausalLM], platform: Platform
) -> None:
    path, model = checkpoint
    engine = ours(path, platform).engine(vocab_size=VOCAB)
    params = SamplingParams(temperature=0, max_tokens=64)
    given = prompts()
    outputs = generate(engine, given, params)
    assert [len(output) for output in outputs] == [64] * len(given)
    logits = [
        reference_logits(model, prompt + output)[len(prompt) - 1 : -1]
        for prompt, output in zip(given, outputs, strict=True)
    ]
    held = hold(
        np.concatenate(logits), [token for output in outputs for token in output], "float32"
    )
    assert held.is_evidence
    assert held.wrong == ()


def test_bfloat16_stays_within_its_tolerance(
    checkpoint: tuple[Path, LlamaForCausalLM], platform: Platform
) -> None:
    path, model = checkpoint
    prompt = prompts()[1]
    expected = reference_logits(model, prompt)
    found = ours(path, platform, dtype="bfloat16").logits(prompt)
    narrow = reference_logits(model.bfloat16(), prompt)
    theirs = float(np.sqrt(np.mean((narrow - expected) ** 2)))
    error = float(np.sqrt(np.mean((found - expected) ** 2)))
    assert error < 1.5 * theirs
