"""What is quantised: a tiny checkpoint, and what comes out of it.

Knows no scheme.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import GptOssConfig, GptOssForCausalLM, LlamaConfig, LlamaForCausalLM

from octavo.testing.loaded import byte_backend

Plain = Mapping[str, torch.Tensor]
"""Weights by name, as a library makes them plain, in float32."""

VOCAB = 97


def tiny(folder: Path) -> Path:
    """Write a small Llama, whose sizes every scheme can cut into groups, with a tokenizer."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=256,
        initializer_range=0.2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(byte_backend().to_str())
    return folder


def tiny_experts(folder: Path) -> Path:
    """Write a small GPT-OSS, whose experts its users know as blocks and scales."""
    torch.manual_seed(0)
    config = GptOssConfig(
        vocab_size=VOCAB,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        num_local_experts=2,
        num_experts_per_tok=1,
        max_position_embeddings=256,
        initializer_range=0.2,
        layer_types=["full_attention"],
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    GptOssForCausalLM(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(byte_backend().to_str())
    return folder


def linear_weights(model: torch.nn.Module) -> Plain:
    """Give what the projections of a model hold now."""
    found = dict(model.named_parameters())
    return {
        name: each.data.float() for name, each in found.items() if name.endswith("_proj.weight")
    }
