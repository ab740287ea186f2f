"""Rounding at placement: each format by hand, and which weights it is for."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import pytest
import torch

from octavo.errors import InternalError, OperatorError
from octavo.graph.passes import optimised
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo.weights.quantised.online import FORMATS, Format, Rounded, check_format, rounded
from octavo_platforms.recipes import Take
from octavo_platforms.tensor import DType, HostTensor, host, to_float

Floats = npt.NDArray[np.float32]


class Held:
    """A source of arrays that are there already."""

    def __init__(self, tensors: Mapping[str, HostTensor]) -> None:
        self._tensors = tensors

    def names(self) -> Collection[str]:
        return self._tensors.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    def dtype(self, name: str) -> DType:
        return self._tensors[name].dtype

    def read(self, name: str) -> HostTensor:
        return self._tensors[name]


def drawn(*shape: int) -> Floats:
    return np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


def once(numbers: Floats, name: str, axis: int = -1) -> Floats:
    source = Rounded(Held({"w": host(numbers)}), {"w": axis}, FORMATS[name])
    return to_float(source.read("w"))


def test_int8_has_a_scale_for_each_row_and_127_steps() -> None:
    numbers = drawn(5, 33)
    scale = np.abs(numbers).max(axis=1, keepdims=True) / np.float32(127)
    np.testing.assert_array_equal(once(numbers, "int8"), np.rint(numbers / scale) * scale)


@pytest.mark.parametrize(("n_in", "size"), [(256, 128), (192, 64), (96, 32), (100, 100)])
def test_int4_has_a_scale_for_as_many_inputs_as_divide_the_row(n_in: int, size: int) -> None:
    numbers = drawn(3, n_in).reshape(3, -1, size)
    scale = np.abs(numbers).max(axis=2, keepdims=True) / np.float32(7)
    expected = (np.rint(numbers / scale) * scale).reshape(3, n_in)
    np.testing.assert_array_equal(once(numbers.reshape(3, n_in), "int4"), expected)


def test_fp8_rounds_as_torch_does() -> None:
    numbers = drawn(4, 512) * np.float32(2) ** np.linspace(-14, 3, 512, dtype=np.float32)
    scale = np.abs(numbers).max(axis=1, keepdims=True) / np.float32(448)
    stored = torch.from_numpy(numbers / scale).to(torch.float8_e4m3fn).to(torch.float32)
    np.testing.assert_array_equal(once(numbers, "fp8"), stored.numpy() * scale)


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_transposed_weight_is_rounded_along_its_inputs(name: str) -> None:
    numbers = drawn(128, 6)
    straight = once(np.ascontiguousarray(numbers.T), name)
    np.testing.assert_array_equal(once(numbers, name, axis=0), straight.T)


def test_rows_of_zeros_stay_zeros() -> None:
    assert not once(np.zeros((2, 8), np.float32), "int8").any()


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_format_that_moves_numbers_too_far_is_caught(name: str) -> None:
    exact = FORMATS[name]

    def too_far(numbers: Floats) -> Floats:
        found: Floats = exact.round(numbers * np.float32(1.1))
        return found

    broken = Format(exact.groups, exact.largest, too_far, exact.share, exact.least)
    with pytest.raises(InternalError, match="Rounding 'w' moved a number by"):
        Rounded(Held({"w": host(drawn(2, 64))}), {"w": -1}, broken).read("w")


@pytest.mark.parametrize("is_optimised", [False, True])
def test_only_the_weights_of_linear_layers_are_rounded(*, is_optimised: bool) -> None:
    program = llama.program(llama.spec(tied_embeddings=False))
    source = RandomWeights(program)
    better = optimised(program, one_step=False) if is_optimised else program
    seen = rounded(source, better, "int4")
    changed = {
        name
        for name in source.names()
        if not np.array_equal(seen.read(name).array, source.read(name).array)
    }
    assert changed == {name for name in source.names() if name.endswith("_proj.weight")}


def test_nothing_is_rounded_that_nobody_asked_for() -> None:
    program = llama.program(llama.spec())
    source = RandomWeights(program)
    assert rounded(source, program, None) is source
    assert all(isinstance(weight.recipe, Take) for weight in program.weights)


def test_an_unknown_format_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(OperatorError, match=r"int3 is not known\. Choose one of: int8, int4, fp8"):
        check_format("int3")
