"""HQQ: what is read is what was packed, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from octavo.errors import ModelError

from .written import Floats, Ints, halves, opened, read

SAID = {"quant_method": "hqq", "quant_config": {}}
N_OUT, N_IN, SIZE = 16, 24, 8


def packed(seen: Ints, bits: int) -> torch.Tensor:
    parts = 8 // bits
    rows = len(seen) // parts
    found = np.zeros((rows, seen.shape[1]), np.uint8)
    for part in range(parts):
        shift = 8 - bits * (part + 1)
        found |= (seen[part * rows : (part + 1) * rows] << shift).astype(np.uint8)
    return torch.from_numpy(found)


def layer(bits: int, axis: int) -> tuple[dict[str, torch.Tensor], Floats]:
    drawn, groups = np.random.default_rng(bits), N_OUT * N_IN // SIZE
    seen = drawn.integers(0, 1 << bits, (groups, SIZE) if axis == 1 else (SIZE, groups))
    shape = (groups, 1) if axis == 1 else (1, groups)
    stored, scales = halves(drawn.uniform(0.01, 0.1, shape).astype(np.float32))
    kept, zeros = halves(drawn.uniform(0, 1 << bits, shape).astype(np.float32))
    tensors = {
        "layer.W_q": packed(seen, bits),
        "layer.scale": stored,
        "layer.zero": kept,
        "layer.shape": torch.tensor([N_OUT, N_IN]),
        "layer.nbits": torch.tensor(bits, dtype=torch.int32),
        "layer.axis": torch.tensor(axis, dtype=torch.int32),
        "layer.group_size": torch.tensor(SIZE, dtype=torch.int32),
        "layer.bias": torch.ones(N_OUT),
    }
    weight = (seen.astype(np.float32) - zeros) * scales
    return tensors, weight.reshape(N_OUT, N_IN)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_packed_layer_reads_as_it_was(bits: int, axis: int, tmp_path: Path) -> None:
    tensors, weight = layer(bits, axis)
    source = opened(tmp_path, tensors, SAID)
    assert set(source.names()) == {"layer.weight", "layer.bias"}
    np.testing.assert_array_equal(read(source), weight)
    np.testing.assert_array_equal(source.made["layer.weight"].open()(5, 9), weight[5:9])


def test_codes_of_five_bits_are_refused_by_their_number(tmp_path: Path) -> None:
    tensors, _ = layer(4, 1)
    tensors["layer.nbits"] = torch.tensor(5, dtype=torch.int32)
    with pytest.raises(ModelError, match=r"codes of 5 bits .* known for HQQ: 1, 2, 4 and 8 bits"):
        opened(tmp_path, tensors, SAID)
