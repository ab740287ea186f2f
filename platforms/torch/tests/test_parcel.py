"""Parcels: what arrives is what was sent, each in its dtype and shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from octavo_platforms.tensor import Array, DType
from octavo_torch.dtypes import TORCH_OF
from octavo_torch.parcel import Parcel, delivered, one, sent

CARGO: list[tuple[Array, DType]] = [
    (np.arange(5, dtype=np.int32), "int32"),
    (np.zeros((0, 3), np.uint32), "uint32"),
    (np.array([True, False, True]), "bool"),
    (np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2], "float32"),
    (np.array([[0x3F80, 0x4000]], np.uint16), "bfloat16"),
    (np.arange(7, dtype=np.int64), "int64"),
]


@pytest.mark.parametrize("cargo", [CARGO, CARGO[1:2], []])
def test_one_copy_brings_every_array_in_its_dtype_and_shape(
    cargo: list[tuple[Array, DType]],
) -> None:
    # The meta device has shapes and dtypes and no elements; the emulated device has those too.
    for (array, dtype), tensor in zip(cargo, sent(cargo, torch.device("meta")), strict=True):
        assert tensor.shape == array.shape
        assert tensor.dtype == TORCH_OF[dtype]


def test_arrays_on_the_host_are_copies() -> None:
    array = np.arange(3, dtype=np.int32)
    (tensor,) = sent([(array, "int32")], torch.device("cpu"))
    array[:] = 9
    assert tensor.tolist() == [0, 1, 2]


def test_a_parcel_becomes_what_it_unpacks_to_and_other_values_stay() -> None:
    pair = Parcel(
        tuple(CARGO[:1] * 2), lambda tensors: sum(tensor.sum().item() for tensor in tensors)
    )
    kept = torch.ones(2)
    values = {7: pair, 3: kept, 5: one(*CARGO[0])}
    found = delivered(values, torch.device("cpu"))
    assert found[7] == 20
    assert found[3] is kept
    arrived = found[5]
    assert isinstance(arrived, torch.Tensor)
    assert arrived.tolist() == [0, 1, 2, 3, 4]
