"""Rounding at placement: linear layers as a format of few bits would have them.

    int8    a scale for each output, 127 steps either way
    int4    a scale and a least number for 32 inputs of an output, 15 steps between; for 16 or 8
            where 32 do not divide a row, and where none does, for all of them
    fp8     a scale for each output, floats of the kind e4m3

Steps of int4 begin between the least and the largest number of a group; then, a few times over, the
line is laid that is nearest, in squares, to the numbers by their codes. Neither laying it nor
rounding to it anew makes the error larger, so that it stays within that of the first steps.

By reference: what is placed are plain numbers again, so that any device shows what a format does
to a model's answers; it takes as much memory as before. Embeddings, the output head, norms and
biases stay as they are. A row of each run is held against the format's error.

Source: arXiv 2209.05433 for e4m3; rounding is to the nearest, ties to even. For int4 S. Lloyd,
    "Least squares quantization in PCM" (1982), with levels at even distances; ggml's `make_qkx2`
    lays the same line.
Knows nothing of files, and calibrates nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

import numpy as np

from octavo.errors import InternalError, OperatorError
from octavo.weights.quantised.scheme import Floats
from octavo.weights.quantised.source import RUN_NUMBERS
from octavo.weights.relayed import Relayed
from octavo_platforms.program import ProgramDef
from octavo_platforms.recipes import Given, Join, Recipe, Reorder, Take, WeightSource, taken
from octavo_platforms.tensor import HostTensor, cast, host, to_float

_LINEAR = ("linear", "grouped_linear")
_LARGEST_INT8, _CODES_INT4, _LAID = 127.0, 15.0, 3
_LARGEST_E4M3, _FRACTION_BITS, _LOWEST_EXPONENT = 448.0, 3, -6


@dataclass(frozen=True, slots=True)
class Format:
    """A format: how many inputs share a scale, how a group is rounded, and how far that may go.

    The first count that divides a row is taken, else the whole row. `error` gives, for each number
    or for each group of them, how far rounding went, as a share of how far it may go.

    Shapes: groups [..., G, S], rounded likewise; errors [..., G, S] or [..., G, 1].
    """

    groups: tuple[int, ...]
    round: Callable[[Floats], Floats]
    error: Callable[[Floats, Floats], Floats]


def _int8(groups: Floats) -> Floats:
    scale = _scale(groups, _LARGEST_INT8)
    found: Floats = np.rint((groups / scale).astype(np.float32, copy=False)) * scale
    return found


def _error_int8(before: Floats, after: Floats) -> Floats:
    return _share(after - before, _scale(before, _LARGEST_INT8) * np.float32(0.5), before)


def _fp8(groups: Floats) -> Floats:
    scale = _scale(groups, _LARGEST_E4M3)
    numbers = (groups / scale).astype(np.float32, copy=False)
    _, exponent = np.frexp(numbers)
    step = np.ldexp(np.float32(1), np.maximum(exponent - 1, _LOWEST_EXPONENT) - _FRACTION_BITS)
    found: Floats = (np.rint(numbers / step) * step).astype(np.float32) * scale
    return found


def _error_fp8(before: Floats, after: Floats) -> Floats:
    """Hold a number against half a step of its own size, or of the smallest size."""
    smallest = _scale(before, _LARGEST_E4M3) * np.float32(2.0**-10)
    return _share(
        after - before, np.maximum(np.abs(before) * np.float32(2.0**-4), smallest), before
    )


def _int4(groups: Floats) -> Floats:
    # One after the other along the first axis, where what is asked of a group is quick to sum up.
    numbers = np.ascontiguousarray(np.moveaxis(groups, -1, 0))
    least, step = _between(numbers, 0)
    middle = numbers.mean(axis=0, keepdims=True)
    for _ in range(_LAID):
        codes = _codes(numbers, least, step)
        middle_code = codes.mean(axis=0, keepdims=True)
        codes -= middle_code
        along = np.einsum("s...,s...->...", codes, codes)[np.newaxis]
        slope = np.einsum("s...,s...->...", codes, numbers)[np.newaxis]
        step = np.divide(slope, along, out=step, where=(along > 0) & (slope > 0))
        least = middle - step * middle_code
    codes = _codes(numbers, least, step)
    codes *= step
    codes += least
    return np.moveaxis(codes, 0, -1)


def _error_int4(before: Floats, after: Floats) -> Floats:
    """Hold the root of a group's mean square against half of the first steps."""
    _, step = _between(before, -1)
    off: Floats = np.sqrt(np.square(after - before).mean(axis=-1, keepdims=True))
    return _share(
        off, step * np.float32(0.5), np.abs(before).max(axis=-1, keepdims=True, initial=0)
    )


def _codes(numbers: Floats, least: Floats, step: Floats) -> Floats:
    codes = numbers - least
    codes /= step
    return np.clip(np.rint(codes, out=codes), 0, _CODES_INT4, out=codes)


def _between(numbers: Floats, axis: int) -> tuple[Floats, Floats]:
    """Give the least of the numbers along an axis, and the steps from there to the largest."""
    least = numbers.min(axis=axis, keepdims=True)
    reach = numbers.max(axis=axis, keepdims=True) - least
    return least, _or_one(reach / np.float32(_CODES_INT4))


def _scale(groups: Floats, largest: float) -> Floats:
    return _or_one(np.abs(groups).max(axis=-1, keepdims=True, initial=0) / np.float32(largest))


def _or_one(steps: Floats) -> Floats:
    """Give steps, and one where there are none, so that numbers can be divided by them."""
    return np.where(steps > 0, steps, np.float32(1)).astype(np.float32, copy=False)


def _share(off: Floats, allowed: Floats, size: Floats) -> Floats:
    """Give how far is gone of what is allowed, with room for float32's own rounding."""
    found: Floats = np.divide(np.abs(off), allowed + np.abs(size) * np.float32(2.0**-20))
    return found


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "int8": Format((), _int8, _error_int8),
        "int4": Format((32, 16, 8), _int4, _error_int4),
        "fp8": Format((), _fp8, _error_fp8),
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
class Rounded(Relayed):
    """A source, some of whose tensors are rounded; of each, inputs lie along the axis given."""

    axis_of: Mapping[str, int]
    format: Format

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
        n_in = numbers.shape[-1]
        size = next((size for size in self.format.groups if n_in % size == 0), n_in)
        groups = np.ascontiguousarray(numbers).reshape(
            *numbers.shape[:-1], n_in // max(1, size), size
        )
        if not groups.size:
            return numbers
        found = self.format.round(groups)
        self._check(name, groups[:1], found[:1])
        return found.reshape(numbers.shape)

    def _check(self, name: str, before: Floats, after: Floats) -> None:
        """Hold what is finite against the format's error."""
        is_finite = np.isfinite(before).all(axis=-1, keepdims=True)
        beyond = is_finite & ~(self.format.error(before, after) <= 1)
        if beyond.any():
            worst = float(np.abs(after - before)[np.broadcast_to(beyond, before.shape)].max())
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
        case Given():
            return
        case _:
            parts = recipe.parts if isinstance(recipe, Join) else (recipe.part,)
            for part in parts:
                yield from _axes(part)
