"""Checkpoints by transformers' own code: fp8 in blocks as DeepSeek stores it, and for a tensor.

Its quantiser asks for an accelerator before it starts; the operation by which it stores a weight,
and the one that makes it plain, are run here by themselves, on the weights of a model.
Knows nothing of how the files are read here.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from transformers import FineGrainedFP8Config
from transformers.integrations.finegrained_fp8 import Fp8Dequantize, Fp8Quantize

from .sources import Plain


class _Asked(Protocol):
    """The library's config, whose own types leave out what it takes."""

    scale_fmt: str | None

    def to_dict(self) -> dict[str, object]: ...


class _Operation(Protocol):
    """One of the library's operations on tensors by name."""

    def convert(
        self, given: dict[str, torch.Tensor], *, full_layer_name: str | None = None
    ) -> dict[str, torch.Tensor]: ...


def write(source: Path, into: Path, *, block: int | None, has_powers: bool = False) -> Plain:
    """Store projections in fp8; scales are powers of two where that is asked for."""
    said: dict[str, object] = {"weight_block_size": None if block is None else (block, block)}
    asked: _Asked = FineGrainedFP8Config(**said)  # type: ignore[arg-type,assignment]
    asked.scale_fmt = "ue8m0" if has_powers else None
    quantiser = SimpleNamespace(quantization_config=asked)
    store: _Operation = Fp8Quantize(quantiser)  # type: ignore[no-untyped-call,assignment]
    make_plain: _Operation = Fp8Dequantize(quantiser)  # type: ignore[no-untyped-call,assignment]
    stored, plain = dict[str, torch.Tensor](), dict[str, torch.Tensor]()
    for name, weight in load_file(source / "model.safetensors").items():
        if "_proj.weight" not in name:
            stored[name] = weight
            continue
        made = store.convert({name: weight})
        scale = made[f"{name}_scale_inv"]
        parts = {"weight": made[name], "weight_scale_inv": scale}
        again = make_plain.convert(parts, full_layer_name=name)
        plain[name] = again[name].float()
        stored |= made
    into.mkdir()
    save_file(stored, into / "model.safetensors")
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = asked.to_dict()
    (into / "config.json").write_text(json.dumps(config))
    return plain
