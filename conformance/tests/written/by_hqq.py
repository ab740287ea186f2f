"""Checkpoints that HQQ writes.

Its own saving to safetensors refuses models whose head is their embedding, and leaves out what
`config.json` says of the scheme; its state is saved here, with the words that transformers adds.
Knows nothing of how its files are read here.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from hqq.core.quantize import BaseQuantizeConfig, HQQLinear
from hqq.models.hf.base import AutoHQQHFModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from .sources import Plain


def write(bits: int, axis: int, source: Path, into: Path, size: int) -> Plain:
    """Quantise with groups of a size along an axis; give the weights as HQQ makes them plain."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    asked = BaseQuantizeConfig(nbits=bits, group_size=size, axis=axis)
    AutoHQQHFModel.quantize_model(
        model, quant_config=asked, compute_dtype=torch.float32, device="cpu"
    )
    into.mkdir()
    state = {name: each for name, each in model.state_dict().items() if name != "lm_head.weight"}
    save_file(state, into / "model.safetensors")
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "hqq", "quant_config": asked}
    (into / "config.json").write_text(json.dumps(config, default=str))
    layers = [(stem, each) for stem, each in model.named_modules() if isinstance(each, HQQLinear)]
    return {f"{stem}.weight": each.dequantize().float() for stem, each in layers}
