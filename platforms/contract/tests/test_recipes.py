"""Recipes: weights made of parts of tensors, read only where they are named.

Does not know any file format.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from octavo_platforms.recipes import (
    Cut,
    Given,
    Join,
    Part,
    Recipe,
    Reorder,
    Take,
    fill,
    pull,
    replace_takes,
    shape_of,
    taken,
)
from octavo_platforms.tensor import DType, HostTensor, cast, host, put, storage


class Source:
    """A checkpoint that notes what is read."""

    def __init__(self, tensor_of: Mapping[str, HostTensor]) -> None:
        self._tensor_of = tensor_of
        self.reads: list[str] = []

    def names(self) -> list[str]:
        return list(self._tensor_of)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensor_of[name].shape

    def dtype(self, name: str) -> DType:
        return self._tensor_of[name].dtype

    def read(self, name: str) -> HostTensor:
        self.reads.append(name)
        return self._tensor_of[name]


class Filling(Source):
    """A checkpoint that can put tensors where they are wanted."""

    def __init__(self, tensor_of: Mapping[str, HostTensor]) -> None:
        super().__init__(tensor_of)
        self.filled: list[str] = []

    def fill(self, name: str, into: HostTensor) -> None:
        self.filled.append(name)
        put(self._tensor_of[name], into)


A = np.arange(12, dtype=np.float32).reshape(3, 4)
B = 100 + np.arange(8, dtype=np.float32).reshape(2, 4)


def source() -> Source:
    return Source({"a": host(A), "b": host(B), "unread": host(A)})


MADE = [
    (Take("a"), A),
    (Cut(Take("a"), 1, 1, 3), A[:, 1:3]),
    (Cut(Take("a"), 0, 1, 9), A[1:]),
    (Join((Take("a"), Take("b"))), np.concatenate([A, B])),
    (Join((Take("a"), Take("a")), axis=1), np.concatenate([A, A], axis=1)),
    (Reorder(Take("a"), (3, 2, 2), (0, 2, 1), (3, 4)), A[:, [0, 2, 1, 3]]),
    (Join((Cut(Take("b"), 0, 1, 2), Take("a"))), np.concatenate([B[1:], A])),
    (Join((Join((Take("a"), Take("b"))), Take("b"))), np.concatenate([A, B, B])),
]


@pytest.mark.parametrize(("recipe", "expected"), MADE)
@pytest.mark.parametrize("kind", [Source, Filling])
def test_recipe_fills_an_array_with_what_it_makes(
    recipe: Recipe, expected: np.ndarray, kind: type[Source]
) -> None:
    checkpoint = kind({"a": host(A), "b": host(B)})
    assert shape_of(recipe, checkpoint) == expected.shape
    dtypes: tuple[DType, ...] = ("float32", "bfloat16")
    for dtype in dtypes:
        into = HostTensor(np.full(expected.shape, 7, storage(dtype)), dtype)
        fill(recipe, checkpoint, into)
        assert np.array_equal(into.array, cast(host(expected), dtype).array)


def test_what_a_source_can_put_in_place_is_not_read_before() -> None:
    checkpoint = Filling({"a": host(A), "b": host(B)})
    into = HostTensor(np.empty((5, 4), np.float32), "float32")
    fill(Join((Take("a"), Take("b"))), checkpoint, into)
    assert (checkpoint.filled, checkpoint.reads) == (["a", "b"], [])


def test_an_array_of_another_shape_is_not_filled() -> None:
    into = HostTensor(np.empty((1, 4), np.float32), "float32")
    with pytest.raises(ValueError, match=r"shape is \[3, 4\], and there is room for \[1, 4\]"):
        fill(Take("a"), source(), into)


@pytest.mark.parametrize(("recipe", "expected"), MADE)
def test_recipe_makes_what_numpy_makes(recipe: Recipe, expected: np.ndarray) -> None:
    assert np.array_equal(pull(recipe, source()).array, expected)


def test_only_what_is_named_is_read_and_only_when_pulled() -> None:
    checkpoint = source()
    recipe = Join((Take("a"), Cut(Take("b"), 0, 0, 1)))
    assert list(taken(recipe)) == ["a", "b"]
    assert checkpoint.reads == []
    pull(recipe, checkpoint)
    assert checkpoint.reads == ["a", "b"]


def test_take_and_cut_are_views_of_the_source() -> None:
    assert np.shares_memory(pull(Cut(Take("a"), 0, 1, 2), source()).array, A)


def test_join_of_one_dtype_keeps_its_bits() -> None:
    narrow = cast(host(A), "bfloat16")
    found = pull(Join((Take("x"), Take("x"))), Source({"x": narrow}))
    assert found.dtype == "bfloat16"
    assert np.array_equal(found.array[:3], narrow.array)


def test_join_of_two_dtypes_widens_and_loses_nothing() -> None:
    mixed = Source({"a": host(A), "b": cast(host(B), "bfloat16")})
    found = pull(Join((Take("a"), Take("b"))), mixed)
    assert found.dtype == "float32"
    assert np.array_equal(found.array, np.concatenate([A, B]))


def test_replaced_takes_keep_everything_around_them() -> None:
    recipe = Join((Cut(Take("a"), 0, 0, 1), Reorder(Take("b"), (2, 4), (1, 0), (4, 2))), axis=1)
    renamed = replace_takes(recipe, lambda name: Cut(Take(f"file.{name}"), 0, 0, 9))
    assert list(taken(renamed)) == ["file.a", "file.b"]
    assert isinstance(renamed, Join)
    assert renamed.axis == 1
    assert replace_takes(recipe, Take) == recipe


def test_missing_tensor_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="absent"):
        pull(Take("absent"), source())


def test_numbers_that_no_checkpoint_holds_are_read_from_none_and_cut_like_any_others() -> None:
    source = Source({})
    given = Given((0.5, 0.25, 0.125, 0.1))
    assert list(taken(given)) == []
    assert replace_takes(given, Take) == given
    assert shape_of(given, source) == (4,)
    found = pull(Part(given, 0, parts=2, ranks=2, group="tp"), source, {"tp": 1})
    assert found.dtype == "float32"
    assert found.array.tolist() == [0.125, float(np.float32(0.1))]
    room = HostTensor(np.empty(4, storage("bfloat16")), "bfloat16")
    fill(given, source, room)
    assert room.array.tolist() == cast(pull(given, source), "bfloat16").array.tolist()
    assert source.reads == []
