"""Checkpoints of NVIDIA's ModelOpt: nvfp4, mxfp8 and fp8; and GPT-OSS's experts in mxfp4.

But for fp8 its rounding of a whole model asks for an accelerator; the tensors that its export is
made of do not, and are named here as the export names them. GPT-OSS's blocks and scales are packed
by ModelOpt and made plain by transformers. Knows nothing of how the files are read here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import modelopt.torch.quantization as mtq
import torch
from modelopt.torch.export import export_hf_checkpoint
from modelopt.torch.quantization.qtensor import MXFP4QTensor, MXFP8QTensor, NVFP4QTensor
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from .sources import Plain

_NV_BLOCK, _MX_BLOCK = 16, 32


def write_fp8(source: Path, into: Path) -> Plain:
    """Let ModelOpt round, calibrate and export; give the weights as its quantisers round them."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    tokens = torch.arange(3, 67)[None]
    mtq.quantize(model, mtq.FP8_DEFAULT_CFG, forward_loop=lambda one: one(tokens))
    layers = [(stem, each) for stem, each in model.named_modules() if stem.endswith("_proj")]
    with torch.no_grad():
        plain = {f"{stem}.weight": each.weight_quantizer(each.weight) for stem, each in layers}
    export_hf_checkpoint(model, dtype=torch.float32, export_dir=str(into))
    return plain


def write_packed(algorithm: str, source: Path, into: Path) -> Plain:
    """Store projections as ModelOpt's own tensors with scales beside them, as it names an export.

    In mixed precision those of attention are in eight bits, and the others in four.
    """
    stored, plain = dict[str, torch.Tensor](), dict[str, torch.Tensor]()
    for name, weight in load_file(source / "model.safetensors").items():
        if not name.endswith("_proj.weight"):
            stored[name] = weight
            continue
        mixed = "MXFP8" if "self_attn" in name else "NVFP4"
        kind = mixed if algorithm == "MIXED_PRECISION" else algorithm
        parts, plain[name] = (_mxfp8 if kind == "MXFP8" else _nvfp4)(weight.float())
        stored |= {name + end: part.contiguous() for end, part in parts.items()}
    said = {"quant_method": "modelopt", "quant_algo": algorithm}
    _save(stored, said, source, into)
    return plain


def _nvfp4(weight: torch.Tensor) -> tuple[Plain, torch.Tensor]:
    packed, scale, own = NVFP4QTensor.quantize(weight, _NV_BLOCK)
    plain = packed.dequantize(
        dtype=torch.float32, scale=scale, double_scale=own, block_sizes={-1: _NV_BLOCK}
    )
    return {"": packed._quantized_data, "_scale": scale, "_scale_2": own}, plain  # noqa: SLF001


def _mxfp8(weight: torch.Tensor) -> tuple[Plain, torch.Tensor]:
    packed, scale = MXFP8QTensor.quantize(weight)
    plain = packed.dequantize(dtype=torch.float32, scale=scale)
    return {"": packed._quantized_data, "_scale": scale}, plain  # noqa: SLF001


def write_mxfp4(source: Path, into: Path) -> Plain:
    """Store GPT-OSS's experts [X, K, N] as blocks and scales over [X, N, K]."""
    stored, plain = dict[str, torch.Tensor](), dict[str, torch.Tensor]()
    for name, weight in load_file(source / "model.safetensors").items():
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            stored[name] = weight
            continue
        rows = weight.float().transpose(1, 2).contiguous()
        packed, scale = MXFP4QTensor.quantize(rows, _MX_BLOCK)
        blocks = packed._quantized_data.reshape(*rows.shape[:2], -1, _MX_BLOCK // 2)  # noqa: SLF001
        parts = {"blocks": blocks, "scales": scale.reshape(blocks.shape[:-1])}
        plain[name] = convert_moe_packed_tensors(*parts.values(), dtype=torch.float32)
        stored |= {f"{name}_{end}": part.contiguous() for end, part in parts.items()}
    _save(stored, {"quant_method": "mxfp4"}, source, into)
    return plain


def _save(
    stored: Mapping[str, torch.Tensor], said: Mapping[str, object], source: Path, into: Path
) -> None:
    into.mkdir()
    save_file(dict(stored), into / "model.safetensors")
    config = json.loads((source / "config.json").read_text())
    (into / "config.json").write_text(json.dumps({**config, "quantization_config": said}))
