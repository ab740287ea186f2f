"""What families call their weights, as data: from Llama's names to a checkpoint's tensors.

    names = Naming("transformer.h.", {"model.norm": "transformer.ln_f", ...},
                   {"self_attn.o_proj": at("attn.c_proj"), ...})

A stored tensor may hold several weights: queries, keys and values of a group of heads one after
the other, or gate and up. What a table does not name keeps its name. Nothing is read here.

Knows no family and no file format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from octavo_platforms.recipes import Cut, Join, Recipe, Reorder, Take

Made = Callable[[str, str], Recipe]
"""From a layer's place in the checkpoint, with its dot, and `weight` or `bias`."""

_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
_WHOLE = re.compile(r"(.+)\.(weight|bias)")


@dataclass(frozen=True, slots=True)
class Naming:
    """How a family names: where layers stand, what stands outside of them, and parts of a layer."""

    layers: str = "model.layers."
    outside: Mapping[str, str | Made] = field(default_factory=dict)
    inside: Mapping[str, Made] = field(default_factory=dict)

    def __call__(self, name: str) -> Recipe:
        """Give the recipe of the weight that Llama would call by this name."""
        if inner := _LAYER.fullmatch(name):
            number, part, suffix = inner.groups()
            place = f"{self.layers}{number}."
            made = self.inside.get(part)
            return made(place, suffix) if made else Take(f"{place}{part}.{suffix}")
        if (outer := _WHOLE.fullmatch(name)) and outer[1] in self.outside:
            stored = self.outside[outer[1]]
            return Take(f"{stored}.{outer[2]}") if isinstance(stored, str) else stored("", outer[2])
        return Take(name)


def at(stored: str) -> Made:
    """Find a part under another name."""
    return lambda place, suffix: Take(f"{place}{stored}.{suffix}")


def at_once(stored: str) -> Made:
    """Find a part under another name, which has no suffix."""
    return lambda place, suffix: Take(f"{place}{stored}")


def shaped(stored: str, shape: tuple[int, ...]) -> Made:
    """Find a part whose weight has another shape; a bias stays as it is."""

    def made(place: str, suffix: str) -> Recipe:
        found = Take(f"{place}{stored}.{suffix}")
        axes = tuple(range(len(shape)))
        return found if suffix == "bias" else Reorder(found, shape, axes, shape)

    return made


def rows_of(stored: str, start: int, stop: int, columns: int) -> Made:
    """Find a part that is a run of another's rows, whose weight is seen as so many columns."""

    def made(place: str, suffix: str) -> Recipe:
        found = Cut(Take(f"{place}{stored}.{suffix}"), 0, start, stop)
        shape = (stop - start, columns)
        return found if suffix == "bias" else Reorder(found, shape, (0, 1), shape)

    return made


def joined(*parts: Made) -> Made:
    """Find a part that is several, one after the other."""
    return lambda place, suffix: Join(tuple(part(place, suffix) for part in parts))


def below(stored: str, skipped: int, rows: int) -> Made:
    """Find a table below rows that are not used."""
    return lambda place, suffix: Cut(Take(f"{place}{stored}.{suffix}"), 0, skipped, rows)


@dataclass(frozen=True, slots=True)
class Fused:
    """A stored tensor that holds several weights: in each group, runs of heads in their order.

        groups = 2, runs = (2, 1, 1)      q q k v | q q k v

    Units: `width` is that of a head, `columns` what the layer reads. A transposed one is stored
    as [I, O].
    """

    stored: str
    groups: int
    runs: tuple[int, ...]
    width: int
    columns: int
    is_transposed: bool = False

    def run(self, index: int) -> Made:
        """Give one of the weights."""
        start = sum(self.runs[:index])
        return lambda place, suffix: self._cut(place, suffix, start, self.runs[index])

    def _cut(self, place: str, suffix: str, start: int, count: int) -> Recipe:
        total, columns = sum(self.runs), self.columns if suffix == "weight" else 1
        stored: Recipe = Take(f"{place}{self.stored}.{suffix}")
        rows = self.groups * total * self.width
        if self.is_transposed and suffix == "weight":
            stored = Reorder(stored, view=(columns, rows), axes=(1, 0), shape=(rows, columns))
        by_run = (self.groups, total, self.width * columns)
        found = Cut(Reorder(stored, by_run, (0, 1, 2), by_run), 1, start, start + count)
        taken = (self.groups, count, self.width * columns)
        rows = self.groups * count * self.width
        return Reorder(found, taken, (0, 1, 2), (rows, columns) if suffix == "weight" else (rows,))


def attention_of(fused: Fused) -> Mapping[str, Made]:
    """Name the three projections that one tensor holds."""
    return {f"self_attn.{name}_proj": fused.run(index) for index, name in enumerate("qkv")}


def transposed(stored: str, n_in: int, n_out: int) -> Made:
    """Find a linear layer whose weight is stored as [I, O]."""
    return Fused(stored, 1, (1,), n_out, n_in, is_transposed=True).run(0)


def each_head(stored: str, heads: int, width: int) -> Made:
    """Find a weight whose rows are tensors of their own, numbered."""

    def made(place: str, suffix: str) -> Recipe:
        parts = tuple(Take(f"{place}{stored}.{head}.{suffix}") for head in range(heads))
        return Reorder(Join(parts), (heads, width), (0, 1), (heads, width))

    return made
