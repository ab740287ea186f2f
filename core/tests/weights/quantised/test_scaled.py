"""fp8 and int8 with scales beside them: what is read is what torch makes of the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from octavo.errors import ModelError

from .written import Floats, opened, read

FP8: Mapping[str, object] = {"quant_method": "fp8", "activation_scheme": "dynamic"}


def drawn(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(0, 1, shape).astype(np.float32))


def eights(*shape: int) -> torch.Tensor:
    return drawn(*shape).to(torch.float8_e4m3fn)


def product(stored: torch.Tensor, laid: torch.Tensor) -> Floats:
    found: Floats = (stored.to(torch.float32) * laid).numpy()
    return found


@pytest.mark.parametrize("shape", [(), (1,), (6, 1), (6,), (6, 2)])
def test_scales_of_a_tensor_of_rows_and_of_groups_are_applied(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    stored, scale = eights(6, 8), drawn(*shape).abs()
    source = opened(tmp_path, {"layer.weight": stored, "layer.weight_scale": scale}, FP8)
    assert set(source.names()) == {"layer.weight"}
    laid = scale.reshape(6, 1) if shape == (6,) else scale
    laid = laid.repeat_interleave(4, 1) if shape == (6, 2) else laid
    np.testing.assert_array_equal(read(source), product(stored, laid))


@pytest.mark.parametrize("lead", [(), (3,)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float8_e8m0fnu])
def test_scales_of_blocks_are_applied_to_the_ragged_edge(
    lead: tuple[int, ...], kind: torch.dtype, tmp_path: Path
) -> None:
    stored, scale = eights(*lead, 10, 13), drawn(*lead, 3, 4).abs().to(kind)
    name = "experts.gate_up_proj" if lead else "layer.weight"
    said = {**FP8, "weight_block_size": [4, 4]}
    source = opened(tmp_path, {name: stored, f"{name}_scale_inv": scale}, said)
    laid = scale.to(torch.float32).repeat_interleave(4, -2).repeat_interleave(4, -1)
    expected = product(stored, laid[..., :10, :13])
    np.testing.assert_array_equal(read(source, name), expected)


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (3, 6, 1)])
def test_stacked_experts_have_scales_of_their_own(shape: tuple[int, ...], tmp_path: Path) -> None:
    stored, scale = eights(3, 6, 8), drawn(*shape).abs()
    tensors = {"experts.down_proj": stored, "experts.down_proj_scale": scale}
    expected = product(stored, scale.reshape(3, *shape[1:] or (1, 1)))
    np.testing.assert_array_equal(
        read(opened(tmp_path, tensors, FP8), "experts.down_proj"), expected
    )


def test_int8_is_multiplied_by_its_scales(tmp_path: Path) -> None:
    stored = torch.arange(-128, 128, dtype=torch.int16).to(torch.int8).reshape(16, 16)
    scale = drawn(16, 1).abs()
    tensors = {"layer.weight": stored, "layer.weight_scale": scale}
    source = opened(tmp_path, tensors, {"quant_method": "w8a8_int8"})
    np.testing.assert_array_equal(read(source), product(stored, scale))


def test_scales_of_activations_have_no_name(tmp_path: Path) -> None:
    tensors = {"layer.weight": eights(4, 4), "layer.weight_scale": drawn(1)}
    tensors |= {"layer.input_scale": drawn(1), "attn.k_scale": drawn(1), "norm.weight": drawn(4)}
    assert set(opened(tmp_path, tensors, FP8).names()) == {"layer.weight", "norm.weight"}


def test_scales_that_fit_nothing_are_refused_with_both_shapes(tmp_path: Path) -> None:
    tensors = {"layer.weight": eights(6, 8), "layer.weight_scale": drawn(3)}
    with pytest.raises(ModelError, match=r"'layer\.weight' \[6, 8\], 'layer\.weight_scale' \[3\]"):
        opened(tmp_path, tensors, FP8)
