"""Quantised checkpoints, end to end: the logits of the model that they stand for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from octavo_platforms.loaded import Platform

from .reference import ours, reference_logits

SIZES: Mapping[str, object] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
GROUP = 32
Stored = tuple[dict[str, torch.Tensor], torch.Tensor]
"""What a layer is stored as, by the ends of names, and the weight that this stands for."""


def in_words(codes: torch.Tensor) -> torch.Tensor:
    """Pack rows of codes of 4 bits, eight in a word, the first in the lowest bits."""
    shifts = torch.arange(0, 32, 4)
    words = (codes.reshape(len(codes), -1, 8).long() << shifts).sum(-1)
    return torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32)


def as_gptq(weight: torch.Tensor) -> Stored:
    groups = weight.reshape(len(weight), -1, GROUP)
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    scale = ((high - low) / 15).to(torch.float16).float()
    zero = (-low / scale).round().clamp(0, 15)
    codes = (groups / scale + zero).round().clamp(0, 15)
    inputs = torch.randperm(weight.shape[1], generator=torch.Generator().manual_seed(0))
    plain, flat = ((codes - zero) * scale).reshape(weight.shape), codes.reshape(weight.shape)
    back = torch.empty_like(weight)
    back[:, inputs] = plain
    shuffled = torch.empty_like(weight)
    shuffled[:, inputs] = flat
    index = torch.empty_like(inputs)
    index[inputs] = torch.arange(len(inputs)) // GROUP
    return {
        "qweight": in_words(shuffled).T,
        "qzeros": in_words((zero[..., 0].T - 1) % 16),
        "scales": scale[..., 0].T.to(torch.float16),
        "g_idx": index.to(torch.int32),
    }, back


def as_fp8(weight: torch.Tensor) -> Stored:
    scale = torch.empty(-(-len(weight) // 128), -(-weight.shape[1] // 128)).uniform_(0.5, 2)
    laid = scale.repeat_interleave(128, 0).repeat_interleave(128, 1)
    laid = laid[: len(weight), : weight.shape[1]]
    stored = (weight / laid).to(torch.float8_e4m3fn)
    return {"weight": stored, "weight_scale_inv": scale}, stored.float() * laid


CASES: Mapping[str, tuple[Callable[[torch.Tensor], Stored], Mapping[str, object]]] = {
    "gptq": (as_gptq, {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": True}),
    "fp8": (as_fp8, {"quant_method": "fp8", "weight_block_size": [128, 128]}),
}


@pytest.mark.parametrize("name", list(CASES))
def test_logits_are_those_of_the_model_made_plain(
    name: str, platform: Platform, tmp_path: Path
) -> None:
    stored_as, said = CASES[name]
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig.from_dict(dict(SIZES)))
    model.train(False)
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    for stem in [each.removesuffix(".weight") for each in tensors if "_proj." in each]:
        parts, plain = stored_as(tensors.pop(f"{stem}.weight"))
        tensors |= {f"{stem}.{end}": part.contiguous() for end, part in parts.items()}
        with torch.no_grad():
            model.get_parameter(f"{stem}.weight").copy_(plain)
    save_file(tensors, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "quantization_config": said}))
    prompt = np.random.default_rng(0).integers(0, 97, 40).tolist()
    expected = reference_logits(model, prompt)
    found = ours(tmp_path, platform).logits(prompt)
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.std(), rtol=1e-4)
