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

STEPS = range(1, 16)
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


@pytest.mark.parametrize(("n_in", "size"), [(256, 32), (48, 16), (40, 8), (100, 100)])
def test_int4_has_sixteen_levels_at_even_distances_in_as_many_inputs_as_divide_the_row(
    n_in: int, size: int
) -> None:
    for group in once(drawn(3, n_in), "int4").reshape(-1, size):
        above = (group - group.min()) / np.ptp(group)
        assert any(np.allclose(above * steps, np.rint(above * steps), atol=1e-4) for steps in STEPS)


def test_int4_gives_numbers_that_stand_on_sixteen_levels_back_as_they_are() -> None:
    codes = np.random.default_rng(0).integers(0, 16, (6, 4, 32)).astype(np.float32)
    codes[..., :2] = (0, 15)
    least, step = drawn(6, 4, 1), np.float32(0.01) + np.abs(drawn(6, 4, 1))
    numbers = (codes * step + least).reshape(6, 128)
    np.testing.assert_allclose(once(numbers, "int4"), numbers, atol=1e-5)


def test_int4_is_nearer_in_squares_than_steps_between_the_least_and_the_largest() -> None:
    numbers = drawn(64, 256)
    groups = numbers.reshape(64, 8, 32)
    least = groups.min(axis=-1, keepdims=True)
    step = (groups.max(axis=-1, keepdims=True) - least) / 15
    plain = np.rint((groups - least) / step) * step + least
    found = once(numbers, "int4").reshape(groups.shape)
    before, after = (np.square(each - groups).sum(axis=-1) for each in (plain, found))
    assert (after <= before * 1.0001).all()
    assert after.sum() < 0.9 * before.sum()


@pytest.mark.parametrize("name", list(FORMATS))
def test_groups_of_one_number_over_and_over_stay_as_they_are(name: str) -> None:
    numbers = np.full((2, 64), 0.25, np.float32)
    np.testing.assert_allclose(once(numbers, name), numbers, rtol=1e-6)


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_number_that_is_none_is_left_for_others_to_find(name: str) -> None:
    numbers = drawn(2, 64)
    numbers[0, 3] = np.nan
    found = once(numbers, name)
    assert np.isnan(found[0, 3])
    np.testing.assert_array_equal(found[1], once(numbers[1:], name)[0])


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


@pytest.mark.parametrize("name", list(FORMATS))
def test_rows_of_zeros_stay_zeros(name: str) -> None:
    assert not once(np.zeros((2, 8), np.float32), name).any()


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_format_that_moves_numbers_too_far_is_caught(name: str) -> None:
    exact = FORMATS[name]

    def too_far(groups: Floats) -> Floats:
        return exact.round(groups) * np.float32(1.1)

    broken = Format(exact.groups, too_far, exact.error)
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
