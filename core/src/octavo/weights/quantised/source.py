"""A checkpoint's source, seen through its scheme: plain tensors where quantised ones are stored.

A tensor is made when it is read, a run of rows at a time, and rounded once to the dtype that was
asked for; nobody holds it wide.

Knows no scheme and no model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

import numpy as np

from octavo.weights.lowered import FileSource
from octavo.weights.quantised.scheme import Made
from octavo_platforms.program import WeightDef
from octavo_platforms.recipes import WeightSource, taken
from octavo_platforms.tensor import DType, HostTensor, host, is_float, put, storage

RUN_NUMBERS = 1 << 18
"""How many numbers are in flight as float32, where a row has fewer."""


@dataclass(frozen=True, slots=True)
class Dequantised:
    """A source whose tensors in `made` are made of others.

    What they are made of, and what is `hidden`, has no name here.

    Dtypes: float32 for what is made, unless `dtype_of` has another.
    """

    stored: FileSource
    made: Mapping[str, Made]
    hidden: frozenset[str] = frozenset()
    dtype_of: Mapping[str, DType] = field(default_factory=dict)

    def names(self) -> Collection[str]:
        """Give the names of all plain tensors."""
        gone = {name for made in self.made.values() for name in made.uses}
        return (set(self.stored.names()) - gone - self.hidden) | set(self.made)

    def shape(self, name: str) -> tuple[int, ...]:
        """Give a tensor's shape without reading it."""
        return self.made[name].shape if name in self.made else self.stored.shape(name)

    def dtype(self, name: str) -> DType:
        """Give the dtype that `read` delivers."""
        made = self.dtype_of.get(name, "float32")
        return made if name in self.made else self.stored.dtype(name)

    def file_of(self, name: str) -> Path:
        """Give the file that holds a tensor, or the first part of it."""
        return self.stored.file_of(self.made[name].uses[0] if name in self.made else name)

    def kind(self, name: str) -> str:
        """Give the type that the file stores a tensor in, or the first part of it."""
        return self.stored.kind(self.made[name].uses[0] if name in self.made else name)

    def ahead(self, name: str) -> None:
        """Have the bytes of a tensor's parts fetched from the disk, without waiting for them."""
        for part in self.made[name].uses if name in self.made else (name,):
            self.stored.ahead(part)

    def read(self, name: str) -> HostTensor:
        """Give one tensor.

        Effects: holds its stored parts, the result, and a run of rows, until it returns.
        Raises: ModelError, for parts that cannot be right.
        """
        if name not in self.made:
            return self.stored.read(name)
        dtype = self.dtype(name)
        found = HostTensor(np.empty(self.made[name].shape, storage(dtype)), dtype)
        self.fill(name, found)
        return found

    def fill(self, name: str, into: HostTensor) -> None:
        """Read one tensor into an array.

        Effects: holds its stored parts and a run of rows, until it returns.
        Raises: ModelError, for parts that cannot be right.
        """
        if name not in self.made:
            self.stored.fill(name, into)
            return
        made = self.made[name]
        rows = made.open()
        step = max(1, RUN_NUMBERS // max(1, prod(made.shape[1:])))
        for start in range(0, made.shape[0], step):
            stop = min(start + step, made.shape[0])
            put(host(rows(start, stop)), HostTensor(into.array[start:stop], into.dtype))


def delivered(source: WeightSource, weights: Iterable[WeightDef]) -> WeightSource:
    """Have what is made delivered in the dtype in which it will be placed.

    What weights of several dtypes take stays float32.
    """
    if not isinstance(source, Dequantised):
        return source
    dtype_of: dict[str, DType] = {}
    for weight in weights:
        for name in taken(weight.recipe):
            wanted = weight.dtype if is_float(weight.dtype) else "float32"
            dtype_of[name] = wanted if dtype_of.get(name, wanted) == wanted else "float32"
    return replace(source, dtype_of=dtype_of)
