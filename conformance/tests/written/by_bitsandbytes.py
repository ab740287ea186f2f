"""Checkpoints that bitsandbytes writes through transformers: nf4, fp4 and int8.

Knows nothing of how its files are read here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

import torch
from bitsandbytes.functional import dequantize_4bit, int8_vectorwise_dequant
from bitsandbytes.nn import Linear8bitLt
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from .sources import Plain

ASKED: dict[str, dict[str, object]] = {
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "nf4-nested": {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
    },
    "fp4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
    "int8": {"load_in_8bit": True},
}


def write(name: str, source: Path, into: Path) -> Plain:
    """Write a checkpoint; give the weights as the library makes them plain."""
    model = AutoModelForCausalLM.from_pretrained(
        source,
        dtype=torch.float32,
        device_map="cpu",
        quantization_config=BitsAndBytesConfig(**ASKED[name]),  # type: ignore[no-untyped-call]
    )
    model.save_pretrained(into)
    layers = [(stem, each) for stem, each in model.named_modules() if stem.endswith("_proj")]
    return {f"{stem}.weight": _plain(each) for stem, each in layers}


class Stored(Protocol):
    """A weight of the library, as far as it is used here; each kind has one of these."""

    data: torch.Tensor
    SCB: torch.Tensor
    quant_state: object


def _plain(layer: torch.nn.Module) -> torch.Tensor:
    weight = cast(Stored, layer.weight)
    if isinstance(layer, Linear8bitLt):
        found = int8_vectorwise_dequant(weight.data, weight.SCB)
    else:
        found = dequantize_4bit(weight.data, weight.quant_state)
    plain: torch.Tensor = found.float().contiguous()
    return plain
