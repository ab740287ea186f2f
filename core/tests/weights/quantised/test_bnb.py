"""bitsandbytes: what is read is what was stored, to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from octavo.errors import ModelError

from .written import Floats, opened, read

SAID = {"quant_method": "bitsandbytes", "load_in_4bit": True}
NF4 = np.random.default_rng(9).permutation(np.linspace(-1, 1, 16)).astype(np.float32)
STATE = "layer.weight.quant_state.bitsandbytes__nf4"


def state(**said: object) -> torch.Tensor:
    return torch.tensor(list(json.dumps(said).encode()), dtype=torch.uint8)


def blocks(
    shape: tuple[int, int], size: int, *, is_nested: bool
) -> tuple[dict[str, torch.Tensor], Floats]:
    drawn = np.random.default_rng(0)
    count = shape[0] * shape[1]
    codes = drawn.integers(0, 16, count)
    pairs = np.append(codes, 0)[: count + count % 2].reshape(-1, 2)
    num_blocks = -(-count // size)
    said: dict[str, object] = {"quant_type": "nf4", "blocksize": size, "shape": list(shape)}
    tensors = {
        "layer.weight": torch.from_numpy(
            (16 * pairs[:, 0] + pairs[:, 1]).astype(np.uint8)[:, None]
        ),
        "layer.weight.quant_map": torch.from_numpy(NF4),
    }
    if is_nested:
        table = drawn.uniform(-1, 1, 256).astype(np.float32)
        small = drawn.integers(0, 256, num_blocks).astype(np.uint8)
        nested = drawn.uniform(0.1, 1, -(-num_blocks // 4)).astype(np.float32)
        by = table[small] * nested[np.arange(num_blocks) // 4] + np.float32(0.25)
        said |= {"nested_blocksize": 4, "nested_offset": 0.25, "nested_dtype": "float32"}
        tensors |= {
            "layer.weight.absmax": torch.from_numpy(small),
            "layer.weight.nested_absmax": torch.from_numpy(nested),
            "layer.weight.nested_quant_map": torch.from_numpy(table),
        }
    else:
        by = drawn.uniform(0.1, 1, num_blocks).astype(np.float32)
        tensors["layer.weight.absmax"] = torch.from_numpy(by)
    tensors[STATE] = state(**said)
    weight = NF4[codes] * by[np.arange(count) // size]
    return tensors, weight.reshape(shape)


@pytest.mark.parametrize("shape", [(8, 24), (7, 9)])
@pytest.mark.parametrize("is_nested", [False, True])
def test_blocks_of_four_bits_read_as_they_were(
    shape: tuple[int, int], *, is_nested: bool, tmp_path: Path
) -> None:
    tensors, weight = blocks(shape, 16, is_nested=is_nested)
    source = opened(tmp_path, tensors, SAID)
    assert set(source.names()) == {"layer.weight"}
    np.testing.assert_array_equal(read(source), weight)
    rows = source.made["layer.weight"].open()
    np.testing.assert_array_equal(rows(3, 6), weight[3:6])


def test_int8_is_a_share_of_the_largest_of_each_row(tmp_path: Path) -> None:
    codes = torch.arange(-60, 60, dtype=torch.int8).reshape(4, 30)
    largest = torch.tensor([0.5, 1.0, 2.0, 3.0])
    tensors = {"layer.weight": codes, "layer.SCB": largest}
    tensors["layer.weight_format"] = torch.tensor(0, dtype=torch.uint8)
    found = read(opened(tmp_path, tensors, SAID))
    np.testing.assert_allclose(found, codes.numpy() * largest.numpy()[:, None] / 127, rtol=1e-6)


def test_an_order_that_belongs_to_a_device_is_refused(tmp_path: Path) -> None:
    tensors = {"layer.weight": torch.ones(2, 2, dtype=torch.int8), "layer.SCB": torch.ones(2)}
    tensors["layer.weight_format"] = torch.tensor(1, dtype=torch.uint8)
    with pytest.raises(ModelError, match="an order of bitsandbytes that belongs to one device"):
        opened(tmp_path, tensors, SAID)


def test_a_state_that_is_no_json_is_refused(tmp_path: Path) -> None:
    tensors, _ = blocks((8, 24), 16, is_nested=False)
    tensors[STATE] = torch.zeros(4, dtype=torch.uint8)
    with pytest.raises(ModelError, match="__nf4' is no JSON"):
        opened(tmp_path, tensors, SAID)
