"""AWQ: what is read is what was packed, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from octavo.errors import ModelError

from .written import Ints, halves, opened, read

N_IN, N_OUT, SIZE = 32, 40, 16
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
SAID = {"quant_method": "awq", "bits": 4, "group_size": SIZE, "zero_point": True, "version": "gemm"}


def packed(codes: Ints) -> torch.Tensor:
    words = np.zeros((len(codes), codes.shape[1] // 8), np.uint32)
    for word in range(words.shape[1]):
        for place, column in enumerate(ORDER):
            words[:, word] |= codes[:, 8 * word + column].astype(np.uint32) << np.uint32(4 * place)
    return torch.from_numpy(words.view(np.int32))


def layer() -> tuple[dict[str, torch.Tensor], Ints, Ints]:
    drawn = np.random.default_rng(0)
    codes = drawn.integers(0, 16, (N_IN, N_OUT))
    zeros = drawn.integers(0, 16, (N_IN // SIZE, N_OUT))
    scales, _ = halves(drawn.uniform(0.01, 0.1, zeros.shape).astype(np.float32))
    parts = {"qweight": packed(codes), "qzeros": packed(zeros), "scales": scales}
    return {f"layer.{name}": each for name, each in parts.items()}, codes, zeros


def test_a_packed_layer_reads_as_it_was(tmp_path: Path) -> None:
    tensors, codes, zeros = layer()
    tensors["layer.bias"] = torch.ones(N_OUT)
    source = opened(tmp_path, tensors, SAID)
    assert set(source.names()) == {"layer.weight", "layer.bias"}
    scales = tensors["layer.scales"].to(torch.float32).numpy()
    groups = np.arange(N_IN) // SIZE
    expected = (codes - zeros[groups]).astype(np.float32) * scales[groups]
    np.testing.assert_array_equal(read(source), expected.T)


def test_rows_that_begin_inside_a_word_are_those_of_the_whole(tmp_path: Path) -> None:
    source = opened(tmp_path, layer()[0], SAID)
    rows, whole = source.made["layer.weight"].open(), read(source)
    for start, stop in ((0, 3), (3, 21), (13, 14), (39, 40)):
        np.testing.assert_array_equal(rows(start, stop), whole[start:stop])


@pytest.mark.parametrize("other", [{"version": "gemv"}, {"bits": 3}])
def test_another_form_is_refused_by_name(other: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is not built; known: (gemm|4)\."):
        opened(tmp_path, layer()[0], {**SAID, **other})
