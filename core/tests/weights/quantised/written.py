"""Checkpoints to read, and a packer of its own: a row of codes is one long number, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file

from octavo.weights.find import find
from octavo.weights.quantised.source import Dequantised
from octavo_platforms.tensor import to_float

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def in_words(codes: Ints, bits: int, axis: int) -> torch.Tensor:
    """Pack codes along an axis into 32-bit words, the first in the lowest bits."""
    rows = np.moveaxis(codes, axis, -1)
    flat = rows.reshape(-1, rows.shape[-1])
    words = -(-flat.shape[1] * bits // 32)
    packed = b"".join(_long(row.tolist(), bits).to_bytes(4 * words, "little") for row in flat)
    found = np.frombuffer(packed, "<i4").reshape(*rows.shape[:-1], words)
    return torch.from_numpy(np.moveaxis(found, -1, axis).copy())


def _long(row: Sequence[int], bits: int) -> int:
    return sum(code << (bits * place) for place, code in enumerate(row))


def halves(numbers: Floats) -> tuple[torch.Tensor, Floats]:
    """Round to float16; give what is stored, and what it stands for."""
    stored = torch.from_numpy(numbers).to(torch.float16)
    return stored, stored.to(torch.float32).numpy()


def opened(
    folder: Path, tensors: Mapping[str, torch.Tensor], config: Mapping[str, object]
) -> Dequantised:
    """Write a checkpoint and find it."""
    said = {"architectures": ["LlamaForCausalLM"], "quantization_config": config}
    (folder / "config.json").write_text(json.dumps(said))
    save_file(
        {name: each.contiguous() for name, each in tensors.items()}, folder / "model.safetensors"
    )
    source = find(str(folder)).source
    assert isinstance(source, Dequantised)
    return source


def read(source: Dequantised, name: str = "layer.weight") -> Floats:
    """Read one tensor, which has the shape that was told before."""
    found = to_float(source.read(name))
    assert found.shape == source.shape(name)
    return found
