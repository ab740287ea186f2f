"""Floats of four bits: mxfp4 as GPT-OSS stores it, and nvfp4 of ModelOpt, read to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from octavo.errors import ModelError

from .written import Floats, Ints, opened, read

SIZES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
MXFP4 = {"quant_method": "mxfp4"}
NVFP4 = {"quant_method": "modelopt", "quant_algo": "NVFP4"}


def number(code: int) -> float:
    return -SIZES[code - 8] if code > 7 else SIZES[code]


def codes(*shape: int) -> Ints:
    return np.random.default_rng(1).integers(0, 16, shape)


def numbers(drawn: Ints) -> Floats:
    found: Floats = np.vectorize(number)(drawn).astype(np.float32)
    return found


def in_bytes(drawn: Ints) -> torch.Tensor:
    return torch.from_numpy((drawn[..., 0::2] + 16 * drawn[..., 1::2]).astype(np.uint8))


def test_stacked_experts_read_as_their_plain_form_has_them(tmp_path: Path) -> None:
    experts, n_out, groups = 3, 6, 2
    drawn = codes(experts, n_out, groups, 32)
    powers = np.random.default_rng(2).integers(118, 130, (experts, n_out, groups))
    tensors = {
        "experts.gate_up_proj_blocks": in_bytes(drawn),
        "experts.gate_up_proj_scales": torch.from_numpy(powers.astype(np.uint8)),
        "experts.gate_up_proj_bias": torch.zeros(experts, n_out),
    }
    source = opened(tmp_path, tensors, MXFP4)
    assert set(source.names()) == {"experts.gate_up_proj", "experts.gate_up_proj_bias"}
    laid = numbers(drawn) * 2.0 ** (powers - 127.0)[..., None]
    expected = laid.reshape(experts, n_out, groups * 32).transpose(0, 2, 1)
    np.testing.assert_array_equal(read(source, "experts.gate_up_proj"), expected)


def test_the_smallest_and_largest_powers_are_exact(tmp_path: Path) -> None:
    powers = torch.tensor([[0, 254]], dtype=torch.uint8)
    tensors = {"w_blocks": in_bytes(np.full((1, 2, 32), 1)), "w_scales": powers}
    found = read(opened(tmp_path, tensors, MXFP4), "w")
    assert found[0, 0] == np.float32(2.0**-128)
    assert found[0, 63] == np.float32(2.0**126)


def test_blocks_without_their_scales_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'w_blocks' comes without 'w_scales'"):
        opened(tmp_path, {"w_blocks": in_bytes(codes(1, 2, 32))}, MXFP4)


def test_nvfp4_is_scaled_twice_and_eight_bits_beside_it_once(tmp_path: Path) -> None:
    drawn, random = codes(6, 64), torch.Generator().manual_seed(0)
    by = torch.rand(6, 4, generator=random).to(torch.float8_e4m3fn)
    eight = torch.rand(4, 8, generator=random).to(torch.float8_e4m3fn)
    tensors = {
        "layer.weight": in_bytes(drawn),
        "layer.weight_scale": by,
        "layer.weight_scale_2": torch.tensor(0.037),
        "layer.input_scale": torch.tensor(1.5),
        "other.weight": eight,
        "other.weight_scale": torch.tensor(0.5),
    }
    source = opened(tmp_path, tensors, NVFP4)
    assert set(source.names()) == {"layer.weight", "other.weight"}
    own = by.to(torch.float32).numpy() * np.float32(0.037)
    np.testing.assert_array_equal(read(source), numbers(drawn) * np.repeat(own, 16, axis=1))
    np.testing.assert_array_equal(read(source, "other.weight"), eight.to(torch.float32) * 0.5)


def test_another_algorithm_of_modelopt_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the quant_algo 'W4A8_AWQ' is not built; known: FP8"):
        opened(tmp_path, {"w": torch.zeros(1)}, {**NVFP4, "quant_algo": "W4A8_AWQ"})
