"""Recipes: how a weight is made from the tensors of a checkpoint, as data.

A graph pass that merges two projections joins their recipes; a file format that stores
rows in another order adds a `Reorder`. Nothing is read until `pull` is called, one weight
at a time, so that a checkpoint never has to fit into host memory. Recipes are kept after
loading: a live weight update runs them again.

Knows nothing of files; a `WeightSource` reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from octavo_platforms.tensor import DType, HostTensor, to_float


class WeightSource(Protocol):
    """Named tensors of a checkpoint, read when asked for."""

    def names(self) -> Collection[str]:
        """Give the names of all tensors."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Give a tensor's shape without reading it."""
        ...

    def dtype(self, name: str) -> DType:
        """Give the dtype that `read` will deliver, without reading."""
        ...

    def read(self, name: str) -> HostTensor:
        """Read one tensor; a view of mapped memory where the format allows it."""
        ...


@dataclass(frozen=True, slots=True)
class Take:
    """One tensor of the checkpoint, whole."""

    name: str


@dataclass(frozen=True, slots=True)
class Cut:
    """A run of indices along one axis of another recipe's result."""

    part: Recipe
    axis: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Join:
    """Several results, one after the other along one axis."""

    parts: tuple[Recipe, ...]
    axis: int = 0


@dataclass(frozen=True, slots=True)
class Reorder:
    """A result seen in another shape, its axes permuted, and flattened back to `shape`."""

    part: Recipe
    view: tuple[int, ...]
    axes: tuple[int, ...]
    shape: tuple[int, ...]


Recipe = Take | Cut | Join | Reorder


def taken(recipe: Recipe) -> Iterator[str]:
    """Walk the names of the checkpoint tensors that a recipe reads."""
    match recipe:
        case Take(name):
            yield name
        case Join(parts):
            for part in parts:
                yield from taken(part)
        case Cut(part) | Reorder(part):
            yield from taken(part)


def replace_takes(recipe: Recipe, rule: Callable[[str], Recipe]) -> Recipe:
    """Rewrite each `Take` by a rule: how one naming of tensors becomes another."""
    match recipe:
        case Take(name):
            return rule(name)
        case Join(parts, axis):
            return Join(tuple(replace_takes(part, rule) for part in parts), axis)
        case Cut(part, axis, start, stop):
            return Cut(replace_takes(part, rule), axis, start, stop)
        case Reorder(part, view, axes, shape):
            return Reorder(replace_takes(part, rule), view, axes, shape)


def pull(recipe: Recipe, source: WeightSource) -> HostTensor:
    """Make one weight. Reads only what the recipe names.

    Raises: KeyError, for a tensor that the source lacks; ValueError, for shapes that do
        not fit together.
    """
    match recipe:
        case Take(name):
            return source.read(name)
        case Cut(part, axis, start, stop):
            whole = pull(part, source)
            index = (slice(None),) * axis + (slice(start, stop),)
            return HostTensor(whole.array[index], whole.dtype)
        case Join(parts, axis):
            return _join([pull(part, source) for part in parts], axis)
        case Reorder(part, view, axes, shape):
            whole = pull(part, source)
            moved = whole.array.reshape(view).transpose(axes).reshape(shape)
            return HostTensor(moved, whole.dtype)


def _join(parts: list[HostTensor], axis: int) -> HostTensor:
    dtypes = {part.dtype for part in parts}
    if len(dtypes) == 1:
        joined = np.concatenate([part.array for part in parts], axis=axis)
        return HostTensor(joined, parts[0].dtype)
    widened = np.concatenate([to_float(part) for part in parts], axis=axis)
    return HostTensor(widened, "float32")
