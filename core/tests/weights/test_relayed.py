"""Sources before sources: what they do not change is as it was, and nothing goes past them."""

from __future__ import annotations

import numpy as np

from octavo.weights.relayed import Relayed
from octavo_platforms.recipes import FillingSource
from octavo_platforms.tensor import DType, HostTensor, host


class Filling:
    """A source of two tensors, which can put them where they are wanted."""

    def names(self) -> list[str]:
        return ["a", "b"]

    def shape(self, name: str) -> tuple[int, ...]:
        return (2, 3) if name == "a" else (4,)

    def dtype(self, name: str) -> DType:
        return "int8" if name == "a" else "float32"

    def read(self, name: str) -> HostTensor:
        array = np.arange(6, dtype=np.int8).reshape(2, 3) if name == "a" else np.ones(4, np.float32)
        return host(array)

    def fill(self, name: str, into: HostTensor) -> None:
        into.array[...] = self.read(name).array


def test_what_is_passed_on_is_what_stands_behind() -> None:
    behind = Filling()
    front = Relayed(behind)
    assert list(front.names()) == behind.names()
    for name in behind.names():
        found, stored = front.read(name), behind.read(name)
        assert (front.shape(name), front.dtype(name)) == (stored.array.shape, stored.dtype)
        np.testing.assert_array_equal(found.array, stored.array)


def test_nobody_fills_arrays_past_who_stands_before_a_source() -> None:
    assert isinstance(Filling(), FillingSource)
    assert not isinstance(Relayed(Filling()), FillingSource)
