"""Recipes: weights made of parts of tensors, read only where they are named.

Does not know any file format.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from octavo_platforms.recipes import Cut, Join, Recipe, Reorder, Take, pull, replace_takes, taken
from octavo_platforms.tensor import DType, HostTensor, cast, host


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


A = np.arange(12, dtype=np.float32).reshape(3, 4)
B = 100 + np.arange(8, dtype=np.float32).reshape(2, 4)


def source() -> Source:
    return Source({"a": host(A), "b": host(B), "unread": host(A)})


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (Take("a"), A),
        (Cut(Take("a"), 1, 1, 3), A[:, 1:3]),
        (Join((Take("a"), Take("b"))), np.concatenate([A, B])),
        (Join((Take("a"), Take("a")), axis=1), np.concatenate([A, A], axis=1)),
        (Reorder(Take("a"), (3, 2, 2), (0, 2, 1), (3, 4)), A[:, [0, 2, 1, 3]]),
        (Join((Cut(Take("b"), 0, 1, 2), Take("a"))), np.concatenate([B[1:], A])),
    ],
)
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
