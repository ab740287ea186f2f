"""GGUF files of each architecture, end to end: the logits of the model that was converted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import PreTrainedModel

from octavo.models.registry import family
from octavo.weights.find import find
from octavo_platforms import discover

from ..parity.reference import ours, reference_logits
from . import by_gguf

SIZES: Mapping[str, object] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
    "rms_norm_eps": 1e-5,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts_per_tok": 2}
TIED = {"tie_word_embeddings": True}
# By what the library's own converter names an architecture: transformers' name, and its own sizes.
CASES: Mapping[str, tuple[str, str, Mapping[str, object]]] = {
    "llama": ("llama", "Llama", {}),
    "mixtral": ("llama", "Mixtral", {**EXPERTS, "num_local_experts": 4}),
    "qwen2": ("qwen2", "Qwen2", {}),
    "qwen3": ("qwen3", "Qwen3", {}),
    "qwen3moe": (
        "qwen3moe",
        "Qwen3Moe",
        {**EXPERTS, "num_experts": 4, "moe_intermediate_size": 32, "norm_topk_prob": True},
    ),
    "gemma": ("gemma", "Gemma", {**TIED, "hidden_activation": "gelu_pytorch_tanh"}),
    "gemma2": ("gemma2", "Gemma2", {**TIED, "query_pre_attn_scalar": 16, "sliding_window": 24}),
    "gemma3": ("gemma3", "Gemma3Text", {**TIED, "query_pre_attn_scalar": 16, "sliding_window": 24}),
    "phi3": ("phi3", "Phi3", {"sliding_window": 24}),
}


def made(name: str) -> PreTrainedModel:
    """Make a small random model, whose norms and biases are no ones and zeros."""
    _, kind, own = CASES[name]
    config: Callable[..., object] = getattr(transformers, f"{kind}Config")
    causal: Callable[..., PreTrainedModel] = getattr(
        transformers, f"{kind.removesuffix('Text')}ForCausalLM"
    )
    torch.manual_seed(0)
    model = causal(config(**{**SIZES, **own}))
    with torch.no_grad():
        for each in model.parameters():
            if each.ndim == 1:
                each.add_(torch.randn_like(each) / 4)
    model.train(False)
    return model


@pytest.mark.parametrize("name", list(CASES))
def test_a_converted_model_gives_the_logits_of_its_original(name: str, tmp_path: Path) -> None:
    model = made(name)
    path = by_gguf.write(model, CASES[name][0], tmp_path)
    prompt = np.random.default_rng(0).integers(3, 97, 40).tolist()
    expected = reference_logits(model, prompt)
    assert family(find(str(path)).config).name
    running = ours(path, discover.load("cpu"))
    try:
        found = running.logits(prompt, chunk=17)
    finally:
        running.program.close()
    assert np.max(np.abs(found - expected)) <= 2e-4 * np.std(expected)
