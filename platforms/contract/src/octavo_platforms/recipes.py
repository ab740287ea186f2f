"""Recipes: how a weight is made from the tensors of a checkpoint, as data.

A graph pass that merges two projections joins their recipes; a file format that stores
rows in another order adds a `Reorder`. Nothing is read until `pull` is called, one weight
at a time, so that a checkpoint never has to fit into host memory. Recipes are kept after
loading: a live weight update runs them again.

Knows nothing of files; a `WeightSource` reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import numpy as np

from octavo_platforms.tensor import DType, HostTensor, put, to_float


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


@runtime_checkable
class FillingSource(WeightSource, Protocol):
    """A source that can put a tensor where it is wanted, which saves an array and a copy."""

    def fill(self, name: str, into: HostTensor) -> None:
        """Read one tensor into an array, in its dtype, as `cast` would convert it.

        Shapes: equal.
        Effects: writes `into`, from whatever thread it is called in.
        """
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


@dataclass(frozen=True, slots=True)
class Given:
    """Numbers that no checkpoint holds, because a rule makes them; one axis, float32.

    They are a weight and no literal where ranks have parts of them, or where they may be placed
    as weights are.
    """

    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """The own one of equal parts along an axis, on a rank of a group.

    There are `parts`, shared out evenly over `ranks`: with fewer parts than ranks, neighbours
    have the same one. A last part that is short is filled up with zeros. Which one a rank has
    is known when weights are placed.
    """

    part: Recipe
    axis: int
    parts: int
    ranks: int
    group: str


@dataclass(frozen=True, slots=True)
class Once:
    """A result on the first rank of a group, and zeros on the others, for what all will sum."""

    part: Recipe
    group: str


Recipe = Take | Given | Cut | Join | Reorder | Part | Once
RankOf = Mapping[str, int]

ALONE: RankOf = MappingProxyType({})


def taken(recipe: Recipe) -> Iterator[str]:
    """Walk the names of the checkpoint tensors that a recipe reads."""
    match recipe:
        case Take(name):
            yield name
        case Given():
            return
        case Join(parts):
            for part in parts:
                yield from taken(part)
        case Cut(part) | Reorder(part) | Part(part) | Once(part):
            yield from taken(part)


def replace_takes(recipe: Recipe, rule: Callable[[str], Recipe]) -> Recipe:
    """Rewrite each `Take` by a rule: how one naming of tensors becomes another."""
    match recipe:
        case Take(name):
            return rule(name)
        case Given():
            return recipe
        case Join(parts, axis):
            return Join(tuple(replace_takes(part, rule) for part in parts), axis)
        case Cut(part, axis, start, stop):
            return Cut(replace_takes(part, rule), axis, start, stop)
        case Reorder(part, view, axes, shape):
            return Reorder(replace_takes(part, rule), view, axes, shape)
        case Part() | Once():
            return replace(recipe, part=replace_takes(recipe.part, rule))


def pull(recipe: Recipe, source: WeightSource, rank_of: RankOf = ALONE) -> HostTensor:
    """Make one weight. Reads only what the recipe names.

    `rank_of` gives this rank's own number in each group that the recipe names.
    Raises: KeyError, for a tensor that the source lacks; ValueError, for shapes that do
        not fit together, and for a group without a number.
    """
    match recipe:
        case Take(name):
            return source.read(name)
        case Given(values):
            return HostTensor(np.asarray(values, np.float32), "float32")
        case Cut(part, axis, start, stop):
            whole = pull(part, source, rank_of)
            index = (slice(None),) * axis + (slice(start, stop),)
            return HostTensor(whole.array[index], whole.dtype)
        case Join(parts, axis):
            return _join([pull(part, source, rank_of) for part in parts], axis)
        case Reorder(part, view, axes, shape):
            whole = pull(part, source, rank_of)
            moved = whole.array.reshape(view).transpose(axes).reshape(shape)
            return HostTensor(moved, whole.dtype)
        case Part(part, axis, parts, ranks, group):
            number = _number(group, rank_of) * parts // ranks
            return _part(pull(part, source, rank_of), axis, number, parts)
        case Once(part, group):
            whole = pull(part, source, rank_of)
            first = _number(group, rank_of) == 0
            return whole if first else HostTensor(np.zeros_like(whole.array), whole.dtype)


def fill(recipe: Recipe, source: WeightSource, into: HostTensor, rank_of: RankOf = ALONE) -> None:
    """Make one weight as `pull` does, in an array that is there already and in its dtype.

    Effects: writes `into`. Joins are made in place; other parts too, where they are one tensor and
        the source can.
    Raises: KeyError and ValueError, as `pull` does; ValueError, for another shape.
    """
    shape = shape_of(recipe, source)
    if shape != into.shape:
        raise ValueError(f"its shape is {list(shape)}, and there is room for {list(into.shape)}")
    match recipe:
        case Take(name) if isinstance(source, FillingSource):
            source.fill(name, into)
        case Join(parts, axis):
            at, before = 0, (slice(None),) * axis
            for part in parts:
                size = shape_of(part, source)[axis]
                here = into.array[(*before, slice(at, at + size))]
                fill(part, source, HostTensor(here, into.dtype), rank_of)
                at += size
        case _:
            put(pull(recipe, source, rank_of), into)


def shape_of(recipe: Recipe, source: WeightSource) -> tuple[int, ...]:
    """Give a weight's shape without reading it.

    Raises: KeyError, for a tensor that the source lacks; ValueError, for parts that do not fit
        together.
    """
    match recipe:
        case Take(name):
            return source.shape(name)
        case Given(values):
            return (len(values),)
        case Cut(part, axis, start, stop):
            whole = shape_of(part, source)
            return _resized(whole, axis, len(range(whole[axis])[start:stop]))
        case Join(parts, axis):
            shapes = [shape_of(part, source) for part in parts]
            total = sum(shape[axis] for shape in shapes)
            for shape in shapes:
                if _resized(shape, axis, total) != _resized(shapes[0], axis, total):
                    raise ValueError(
                        f"parts of the shapes {', '.join(str(list(each)) for each in shapes)} "
                        f"cannot be joined along axis {axis}"
                    )
            return _resized(shapes[0], axis, total)
        case Reorder(shape=shape):
            return shape
        case Part(part, axis, parts=count):
            whole = shape_of(part, source)
            return _resized(whole, axis, -(-whole[axis] // count))
        case Once(part):
            return shape_of(part, source)


def _resized(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _part(whole: HostTensor, axis: int, number: int, parts: int) -> HostTensor:
    size = -(-whole.shape[axis] // parts)
    before = (slice(None),) * axis
    array = whole.array[(*before, slice(number * size, (number + 1) * size))]
    if array.shape[axis] < size:
        filled = np.zeros((*array.shape[:axis], size, *array.shape[axis + 1 :]), array.dtype)
        filled[(*before, slice(array.shape[axis]))] = array
        array = filled
    return HostTensor(array, whole.dtype)


def _number(group: str, rank_of: RankOf) -> int:
    if group not in rank_of:
        raise ValueError(
            f"a weight is cut over the ranks of '{group}', and no rank there was given; place it "
            "with rank_of"
        )
    return rank_of[group]


def _join(parts: list[HostTensor], axis: int) -> HostTensor:
    dtypes = {part.dtype for part in parts}
    if len(dtypes) == 1:
        joined = np.concatenate([part.array for part in parts], axis=axis)
        return HostTensor(joined, parts[0].dtype)
    widened = np.concatenate([to_float(part) for part in parts], axis=axis)
    return HostTensor(widened, "float32")
