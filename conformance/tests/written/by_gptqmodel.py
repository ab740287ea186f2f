"""Checkpoints that GPTQModel writes: GPTQ and AWQ, with their own algorithms on some text.

Its layers give scales in the model's dtype and multiply in it; what is compared is made of what
they hold, by its own code, in float32. Knows nothing of how its files are read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm

from .sources import Plain

ASKED: dict[str, dict[str, object]] = {
    "gptq": {"sym": True, "desc_act": False},
    "gptq-asym": {"sym": False, "desc_act": False},
    "gptq-desc-act": {"sym": False, "desc_act": True},
    "gptq-v2": {"sym": False, "desc_act": False, "format": "gptq_v2"},
    "gptq-8-bits": {"sym": True, "desc_act": False, "bits": 8},
    "gptq-3-bits": {"sym": True, "desc_act": False, "bits": 3},
    "gptq-2-bits": {"sym": True, "desc_act": False, "bits": 2},
    "awq": {"sym": False, "desc_act": False, "quant_method": "awq", "format": "gemm"},
}
BACKENDS = {"awq": BACKEND.AWQ_TORCH}


def write(name: str, source: Path, into: Path, texts: Sequence[Sequence[int]], size: int) -> Plain:
    """Quantise with groups of a size, on token ids as calibration; give the plain weights."""
    asked = {"bits": 4, "group_size": size, **ASKED[name]}
    model = GPTQModel.load(str(source), QuantizeConfig(device="cpu", **asked))
    given = [torch.tensor([list(text)]) for text in texts]
    model.quantize(
        [{"input_ids": each, "attention_mask": torch.ones_like(each)} for each in given],
        batch_size=1,
    )
    model.save(str(into))
    again = GPTQModel.load(
        str(into), device="cpu", backend=BACKENDS.get(name, BACKEND.GPTQ_TORCH), dtype=torch.float16
    )
    layers = [(stem, each) for stem, each in again.model.named_modules() if _is_one(each)]
    return {f"{stem}.weight": plain_of(each) for stem, each in layers}


class Packed(Protocol):
    """A layer of the library, as far as it is used here."""

    qweight: torch.Tensor
    qzeros: torch.Tensor
    scales: torch.Tensor
    bits: int
    group_size: int

    def dequantize_weight(self) -> torch.Tensor:
        """Make the weight plain, [K, N]; AWQ's layers have a function for it instead."""
        ...


def _is_one(module: torch.nn.Module) -> bool:
    return hasattr(module, "qweight")


def plain_of(layer: Packed) -> torch.Tensor:
    """Make the weight of a layer plain by the library's own code, in float32."""
    if not hasattr(layer, "dequantize_weight"):
        scales = layer.scales.float()
        parts = {"qweight": layer.qweight, "qzeros": layer.qzeros, "scales": scales}
        found = dequantize_gemm(**parts, bits=layer.bits, group_size=layer.group_size)
    else:
        layer.scales = layer.scales.float()
        found = layer.dequantize_weight()
    plain: torch.Tensor = found.T.float().contiguous()
    return plain
