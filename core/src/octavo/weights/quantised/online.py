"""Rounding at placement: linear layers as a format of few bits would have them.

    int8    a scale for each output, 127 steps either way
    int4    a scale for 128 inputs of an output, or 64 or 32 where these divide a row, 7 steps
            either way; where none does, for all of them
    fp8     a scale for each output, floats of the kind e4m3

By reference: what is placed are plain numbers again, so that any device shows what a format does
to a model's answers; it takes as much memory as before. Embeddings, the output head, norms and
biases stay as they are. A row of each run is held against the format's error.

Source: arXiv 2209.05433 for e4m3; rounding is to the nearest, ties to even.
Knows nothing of files, and calibrates nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

import numpy as np

from octavo.errors import InternalError, OperatorError
from octavo.weights.quantised.scheme import Floats
from octavo.weights.quantised.source import RUN_NUMBERS
from octavo_platforms.program import ProgramDef
from octavo_platforms.recipes import Join, Recipe, Reorder, Take, WeightSource, taken
from octavo_platforms.tensor import DType, HostTensor, cast, host, to_float

GROUPS = (128, 64, 32)
_LINEAR = ("linear", "grouped_linear")
_LARGEST_E4M3, _FRACTION_BITS, _LOWEST_EXPONENT = 448.0, 3, -6


@dataclass(frozen=True, slots=True)
class Format:
    """How many inputs share a scale (the first count that divides a row, else all), and the rest.

    The rest is the largest number, rounding, and its error.

    The error is a share of the number, and never below a share of the scale.
    """

    groups: tuple[int, ...]
    largest: float
    round: Callable[[Floats], Floats]
    share: float
    least: float


def _whole(numbers: Floats) -> Floats:
    found: Floats = np.rint(numbers)
    return found


def _e4m3(numbers: Floats) -> Floats:
    _, exponent = np.frexp(numbers)
    step = np.ldexp(np.float32(1), np.maximum(exponent - 1, _LOWEST_EXPONENT) - _FRACTION_BITS)
    found: Floats = (np.rint(numbers / step) * step).astype(np.float32)
    return found


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "int8": Format((), 127.0, _whole, 0.0, 0.5),
        "int4": Format(GROUPS, 7.0, _whole, 0.0, 0.5),
        "fp8": Format((), _LARGEST_E4M3, _e4m3, 2.0**-4, 2.0**-10),
    }
)


def check_format(name: str | None) -> None:
    """Refuse a format that is not known. Raises: OperatorError, with those that are."""
    if name is not None and name not in FORMATS:
        raise OperatorError(
            f"--quantization {name} is not known. Choose one of: {', '.join(FORMATS)}; a "
            "checkpoint that is quantised already needs none."
        )


def words(quantised: str, name: str | None) -> str:
    """Add to what is said of a checkpoint what is asked for."""
    if name is None:
        return quantised
    asked = f"linear layers rounded as {name} when placed (by reference, in as much memory)"
    return f"{quantised}; {asked}" if quantised else asked


def rounded(source: WeightSource, program: ProgramDef, name: str | None) -> WeightSource:
    """See a source with the tensors of a program's linear layers rounded."""
    if name is None:
        return source
    axis_of = {
        stored: axis
        for weight in program.weights
        if weight.name in _of_linear_layers(program)
        for stored, axis in _axes(weight.recipe)
    }
    return Rounded(source, axis_of, FORMATS[name])


@dataclass(frozen=True, slots=True)
class Rounded:
    """A source, some of whose tensors are rounded; of each, inputs lie along the axis given."""

    source: WeightSource
    axis_of: Mapping[str, int]
    format: Format

    def names(self) -> Collection[str]:
        """Give the names of all tensors."""
        return self.source.names()

    def shape(self, name: str) -> tuple[int, ...]:
        """Give a tensor's shape without reading it."""
        return self.source.shape(name)

    def dtype(self, name: str) -> DType:
        """Give the dtype that `read` delivers."""
        return self.source.dtype(name)

    def read(self, name: str) -> HostTensor:
        """Give one tensor.

        Raises: InternalError, where rounding went further than the format does.
        """
        stored = self.source.read(name)
        axis = self.axis_of.get(name)
        if axis is None:
            return stored
        rows = np.moveaxis(stored.array, axis, -1)
        found = np.empty_like(stored.array, order="C")
        into = np.moveaxis(found, axis, -1)
        step = max(1, RUN_NUMBERS // max(1, prod(rows.shape[1:])))
        for start in range(0, len(rows), step):
            run = to_float(HostTensor(rows[start : start + step], stored.dtype))
            made = cast(host(self._rounded(name, run)), stored.dtype)
            into[start : start + step] = made.array
        return HostTensor(found, stored.dtype)

    def _rounded(self, name: str, numbers: Floats) -> Floats:
        each, n_in = self.format, numbers.shape[-1]
        size = next((size for size in each.groups if n_in % size == 0), n_in)
        groups = numbers.reshape(*numbers.shape[:-1], n_in // max(1, size), size)
        largest = np.abs(groups).max(axis=-1, keepdims=True, initial=0)
        steps = (largest / np.float32(each.largest)).astype(np.float32)
        scale = np.where(steps > 0, steps, np.float32(1)).astype(np.float32)
        found: Floats = each.round((groups / scale).astype(np.float32, copy=False)) * scale
        self._check(name, groups[:1], found[:1], scale[:1])
        return found.reshape(numbers.shape)

    def _check(self, name: str, before: Floats, after: Floats, scale: Floats) -> None:
        """Hold numbers that are finite against the format's error, with room for float32's own."""
        allowed = np.maximum(np.abs(before) * self.format.share, scale * self.format.least)
        allowed = allowed + np.abs(before) * np.float32(2.0**-20)
        beyond = np.isfinite(before) & ~(np.abs(after - before) <= allowed)
        if beyond.any():
            worst = float(np.abs(after - before)[beyond].max())
            raise InternalError(
                f"Rounding '{name}' moved a number by {worst:.3g}, further than its format may. "
                "Leave out --quantization, and report this."
            )


def _of_linear_layers(program: ProgramDef) -> frozenset[str]:
    """Give the weights that linear layers read and nobody else, but for the output head."""
    inside, outside = set[str](), {"lm_head.weight"}
    for graph in program.entries.values():
        name_of = {leaf.value: leaf.name for leaf in graph.leaves_of("weight")}
        for node in graph.nodes:
            for place, value in enumerate(node.inputs):
                if value in name_of:
                    is_weight = node.op in _LINEAR and place == 1
                    (inside if is_weight else outside).add(name_of[value])
    return frozenset(inside - outside)


def _axes(recipe: Recipe) -> Iterator[tuple[str, int]]:
    """Walk the tensors of a recipe with the axis of inputs: the last, unless it is transposed."""
    match recipe:
        case Take(name):
            yield name, -1
        case Reorder(part, view, (1, 0), _) if len(view) == 2:
            yield from ((name, 0) for name in taken(part))
        case _:
            parts = recipe.parts if isinstance(recipe, Join) else (recipe.part,)
            for part in parts:
                yield from _axes(part)
