"""GPTQ: what is read is what was packed, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from octavo.errors import ModelError

from .written import Floats, halves, in_words, opened, read

N_IN, N_OUT, SIZE = 64, 96, 16
GROUPS = N_IN // SIZE


def layer(
    bits: int, *, version: int, is_ordered: bool, zero: int | None = None
) -> tuple[dict[str, torch.Tensor], Floats]:
    """Draw a layer: its tensors, and its weight."""
    drawn = np.random.default_rng(bits)
    codes = drawn.integers(0, 1 << bits, (N_IN, N_OUT))
    zeros = drawn.integers(0, 1 << bits, (GROUPS, N_OUT))
    zeros[0, :2] = 0
    zeros[:] = zeros if zero is None else zero
    stored, scales = halves(drawn.uniform(0.01, 0.1, (GROUPS, N_OUT)).astype(np.float32))
    groups = np.arange(N_IN) // SIZE
    groups = drawn.permutation(groups) if is_ordered else groups
    kept = zeros if version == 2 else (zeros - 1) % (1 << bits)
    weight = np.empty((N_OUT, N_IN), np.float32)
    for row in range(N_OUT):
        for column in range(N_IN):
            group = groups[column]
            less = np.float32(codes[column, row] - zeros[group, row])
            weight[row, column] = less * scales[group, row]
    tensors = {
        "layer.qweight": in_words(codes, bits, 0),
        "layer.qzeros": in_words(kept, bits, 1),
        "layer.scales": stored,
    }
    if is_ordered:
        tensors["layer.g_idx"] = torch.from_numpy(groups.astype(np.int32))
    return tensors, weight


def config(bits: int, version: int, *, is_ordered: bool = False) -> dict[str, object]:
    form = "gptq" if version == 1 else "gptq_v2"
    return {
        "quant_method": "gptq",
        "bits": bits,
        "group_size": SIZE,
        "desc_act": is_ordered,
        "checkpoint_format": form,
    }


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("is_ordered", [False, True])
def test_a_packed_layer_reads_as_it_was(
    bits: int, version: int, *, is_ordered: bool, tmp_path: Path
) -> None:
    tensors, weight = layer(bits, version=version, is_ordered=is_ordered)
    source = opened(tmp_path, tensors, config(bits, version, is_ordered=is_ordered))
    assert set(source.names()) == {"layer.weight"}
    np.testing.assert_array_equal(read(source), weight)


def test_a_symmetric_layer_reads_as_it_was(tmp_path: Path) -> None:
    tensors, weight = layer(4, version=1, is_ordered=False, zero=8)
    assert (tensors["layer.qzeros"] == 0x77777777).all()
    np.testing.assert_array_equal(read(opened(tmp_path, tensors, config(4, 1))), weight)


def test_a_layer_with_more_bits_than_the_config_says_reads_by_its_own(tmp_path: Path) -> None:
    tensors, weight = layer(8, version=1, is_ordered=True)
    np.testing.assert_array_equal(read(opened(tmp_path, tensors, config(4, 1))), weight)


def test_auto_round_packs_like_gptq(tmp_path: Path) -> None:
    tensors, weight = layer(4, version=1, is_ordered=False)
    said = {"quant_method": "auto-round", "packing_format": "auto_round:auto_gptq"}
    source = opened(tmp_path, tensors, {**said, "bits": 4, "group_size": SIZE})
    np.testing.assert_array_equal(read(source), weight)


def test_another_layout_is_refused_by_name(tmp_path: Path) -> None:
    tensors, _ = layer(4, version=1, is_ordered=False)
    said = {**config(4, 1), "checkpoint_format": "marlin"}
    with pytest.raises(ModelError, match="'marlin' is not built; known: gptq, gptq_v2"):
        opened(tmp_path, tensors, said)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    tensors, _ = layer(4, version=1, is_ordered=False)
    del tensors["layer.scales"]
    with pytest.raises(ModelError, match=r"'layer\.qweight' comes without 'layer\.scales'"):
        opened(tmp_path, tensors, config(4, 1))


def test_parts_of_other_shapes_are_refused_with_their_shapes(tmp_path: Path) -> None:
    tensors, _ = layer(4, version=1, is_ordered=False)
    tensors["layer.scales"] = tensors["layer.scales"][:-1]
    with pytest.raises(ModelError, match=r"'layer\.scales' \[3, 96\] do not fit together"):
        opened(tmp_path, tensors, config(4, 1))


def test_a_group_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    tensors, _ = layer(4, version=1, is_ordered=True)
    tensors["layer.g_idx"][5] = GROUPS
    source = opened(tmp_path, tensors, config(4, 1))
    with pytest.raises(ModelError, match=r"'layer\.g_idx' names groups from 0 to 4, but there"):
        source.read("layer.weight")


def test_a_scale_that_is_no_number_is_refused_by_name(tmp_path: Path) -> None:
    tensors, _ = layer(4, version=1, is_ordered=False)
    tensors["layer.scales"][1, 7] = float("inf")
    source = opened(tmp_path, tensors, config(4, 1))
    with pytest.raises(ModelError, match=r"the scales 'layer\.scales' are not all finite"):
        source.read("layer.weight")
