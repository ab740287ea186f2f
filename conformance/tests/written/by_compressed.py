"""Checkpoints that compressed-tensors writes, in the schemes of its own names.

The library rounds, packs and saves; the ranges of weights, which its users find with another tool,
are their least and largest numbers. Knows nothing of how its files are read here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

import torch
from compressed_tensors.compressors import ModelCompressor
from compressed_tensors.quantization import (
    QuantizationConfig,
    QuantizationScheme,
    apply_quantization_config,
    preset_name_to_scheme,
)
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from transformers import AutoModelForCausalLM

from .sources import Plain, linear_weights

SMALL_GROUP, GROUP, BLOCK = 32, 64, 32


def write(preset: str, source: Path, into: Path, *, is_small: bool) -> Plain:
    """Write a checkpoint in a preset scheme; give the weights as the library makes them plain.

    A small one gets groups that it can hold several of; the real one's sizes are no multiples of
    128, so that it gets others too.
    """
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    said = preset_name_to_scheme(preset, ["Linear"]).model_dump()
    if said["weights"].get("group_size") == 128:
        said["weights"]["group_size"] = SMALL_GROUP if is_small else GROUP
    if said["weights"].get("block_structure"):
        said["weights"]["block_structure"] = [BLOCK, BLOCK]
    config = QuantizationConfig(
        config_groups={"group_0": QuantizationScheme(**said)}, ignore=["lm_head"]
    )
    apply_quantization_config(model, config)
    for module in model.modules():
        found = getattr(module, "quantization_scheme", None)
        if found is not None:
            _calibrate(cast(Calibrated, module), found.weights)
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(into)
    compressor.update_config(str(into))
    compressor.decompress_model(model)
    return linear_weights(model)


class Asked(Protocol):
    """What a scheme asks of weights, as far as it is used here."""

    strategy: object
    group_size: int
    block_structure: tuple[int, int]


class Calibrated(Protocol):
    """A layer to which the library has given the parameters of a scheme."""

    weight: torch.Tensor
    weight_scale: torch.Tensor
    weight_zero_point: torch.Tensor
    weight_global_scale: torch.Tensor


def _calibrate(layer: Calibrated, asked: Asked) -> None:
    """Fill the parameters of one layer from the ranges of its weights; inputs are scaled by 1."""
    groups = _grouped(layer.weight, str(getattr(asked.strategy, "value", asked.strategy)), asked)
    with torch.no_grad():
        own = None
        if hasattr(layer, "weight_global_scale"):
            own = generate_gparam(layer.weight.amin(), layer.weight.amax())
            layer.weight_global_scale.copy_(own)
        scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), asked, own)
        layer.weight_scale.copy_(scale.reshape(layer.weight_scale.shape))
        if hasattr(layer, "weight_zero_point"):
            layer.weight_zero_point.copy_(zero.reshape(layer.weight_zero_point.shape))
        for name in ("input_scale", "input_global_scale"):
            if hasattr(layer, name):
                getattr(layer, name).fill_(1)


def _grouped(weight: torch.Tensor, strategy: str, asked: Asked) -> torch.Tensor:
    """Give the numbers that share a scale along the last axis."""
    match strategy:
        case "tensor":
            return weight.reshape(1, -1)
        case "channel":
            return weight
        case "block":
            high, wide = asked.block_structure
            blocks = weight.reshape(len(weight) // high, high, -1, wide)
            return blocks.transpose(1, 2).flatten(2)
        case _:
            return weight.reshape(len(weight), -1, asked.group_size)
