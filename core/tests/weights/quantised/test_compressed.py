"""compressed-tensors: each form, each strategy, what is read is what was packed, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from octavo.errors import ModelError
from octavo.weights.find import find

from .test_fours import codes as fours
from .test_fours import in_bytes, numbers
from .written import halves, in_words, opened, read

N_OUT, N_IN, SIZE = 20, 48, 16
PACKED = "pack-quantized"


def said(form: str, *, bits: int = 4, kind: str = "int", **more: object) -> dict[str, object]:
    weights = {"num_bits": bits, "type": kind, "strategy": "group", **more}
    inputs = {"num_bits": 8, "type": kind}
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }


@pytest.mark.parametrize("bits", list(range(1, 9)))
@pytest.mark.parametrize("groups", [1, N_IN // SIZE])
@pytest.mark.parametrize("has_zeros", [False, True])
def test_packed_integers_read_as_they_were(
    bits: int, groups: int, *, has_zeros: bool, tmp_path: Path
) -> None:
    drawn, half = np.random.default_rng(bits), 1 << (bits - 1)
    codes = drawn.integers(-half, half, (N_OUT, N_IN))
    zeros = drawn.integers(-half, half, (N_OUT, groups)) * has_zeros
    stored, scales = halves(drawn.uniform(0.01, 0.1, (N_OUT, groups)).astype(np.float32))
    tensors = {
        "layer.weight_packed": in_words(codes + half, bits, 1),
        "layer.weight_scale": stored,
        "layer.weight_shape": torch.tensor([N_OUT, N_IN]),
    }
    if has_zeros:
        tensors["layer.weight_zero_point"] = in_words(zeros + half, bits, 0)
    source = opened(tmp_path, tensors, said(PACKED, bits=bits))
    assert set(source.names()) == {"layer.weight"}
    laid = np.repeat(scales, N_IN // groups, axis=1)
    less = np.repeat(zeros, N_IN // groups, axis=1)
    np.testing.assert_array_equal(read(source), (codes - less).astype(np.float32) * laid)


@pytest.mark.parametrize("is_used", [False, True])
def test_columns_belong_to_the_groups_that_are_listed(*, is_used: bool, tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    codes = drawn.integers(-8, 8, (N_OUT, N_IN))
    stored, scales = halves(drawn.uniform(0.01, 0.1, (N_OUT, 3)).astype(np.float32))
    groups = np.arange(N_IN) // SIZE
    groups = drawn.permutation(groups) if is_used else groups
    tensors = {
        "layer.weight_packed": in_words(codes + 8, 4, 1),
        "layer.weight_scale": stored,
        "layer.weight_shape": torch.tensor([N_OUT, N_IN]),
        "layer.weight_g_idx": torch.from_numpy(groups if is_used else np.full(N_IN, -1)),
    }
    found = read(opened(tmp_path, tensors, said(PACKED)))
    np.testing.assert_array_equal(found, codes.astype(np.float32) * scales[:, groups])


def test_plain_integers_with_zeros_read_as_they_were(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    codes, zeros = drawn.integers(-128, 128, (N_OUT, N_IN)), drawn.integers(-9, 9, (N_OUT, 1))
    scales = drawn.uniform(0.01, 0.1, (N_OUT, 1)).astype(np.float32)
    tensors = {
        "layer.weight": torch.from_numpy(codes.astype(np.int8)),
        "layer.weight_scale": torch.from_numpy(scales),
        "layer.weight_zero_point": torch.from_numpy(zeros.astype(np.int8)),
        "lm_head.weight": torch.ones(3, 4),
    }
    source = opened(tmp_path, tensors, said("int-quantized", bits=8, strategy="channel"))
    assert set(source.names()) == {"layer.weight", "lm_head.weight"}
    np.testing.assert_array_equal(read(source), (codes - zeros).astype(np.float32) * scales)


def test_fp8_in_blocks_reads_as_it_was(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    stored = torch.from_numpy(drawn.normal(0, 1, (10, 12))).to(torch.float8_e4m3fn)
    scales = torch.from_numpy(drawn.uniform(0.01, 0.1, (3, 3)).astype(np.float32))
    tensors = {"layer.weight": stored, "layer.weight_scale": scales}
    form = said("float-quantized", bits=8, kind="float", strategy="block", block_structure=[4, 4])
    laid = scales.repeat_interleave(4, 0)[:10].repeat_interleave(4, 1)
    expected = (stored.to(torch.float32) * laid).numpy()
    np.testing.assert_array_equal(read(opened(tmp_path, tensors, form)), expected)


def test_nvfp4_is_divided_by_the_scale_of_the_tensor(tmp_path: Path) -> None:
    drawn = fours(6, 32)
    by = torch.rand(6, 2, generator=torch.Generator().manual_seed(0)).to(torch.float8_e4m3fn)
    tensors = {
        "layer.weight_packed": in_bytes(drawn),
        "layer.weight_scale": by,
        "layer.weight_global_scale": torch.tensor([320.0]),
        "layer.input_global_scale": torch.tensor([7.0]),
    }
    source = opened(tmp_path, tensors, said("nvfp4-pack-quantized", kind="float"))
    assert set(source.names()) == {"layer.weight"}
    own = by.to(torch.float32).numpy() / np.float32(320)
    np.testing.assert_array_equal(read(source), numbers(drawn) * np.repeat(own, 16, axis=1))


def test_mxfp4_is_scaled_by_powers_of_two(tmp_path: Path) -> None:
    drawn = fours(6, 64)
    powers = torch.tensor([[120, 127]] * 6, dtype=torch.uint8)
    tensors = {"layer.weight_packed": in_bytes(drawn), "layer.weight_scale": powers}
    laid = np.repeat(np.array([[2.0**-7, 1.0]], np.float32), 32, axis=1)
    source = opened(tmp_path, tensors, said("mxfp4-pack-quantized", kind="float"))
    np.testing.assert_array_equal(read(source), numbers(drawn) * laid)


@pytest.mark.parametrize("form", ["marlin-24", "sparse-24-bitmask"])
def test_another_form_is_refused_by_name(form: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"the format '{form}' is not"):
        opened(tmp_path, {"w": torch.zeros(1)}, said(form))


def test_it_is_told_that_activations_stay_as_they_are(tmp_path: Path) -> None:
    tensors = {"layer.weight": torch.ones(2, 2, dtype=torch.int8)}
    tensors["layer.weight_scale"] = torch.ones(1)
    opened(tmp_path, tensors, said("int-quantized", bits=8))
    assert find(str(tmp_path)).quantised == (
        "compressed-tensors, int8; int8 of activations is not applied; "
        "1 weights made plain when placed (by reference)"
    )
