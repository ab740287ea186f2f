"""Ladders: the few sizes that steps may have on a device that compiles each new shape.

A symbol without a ladder has one size, its largest.

Knows nothing of devices.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

from octavo_platforms.graph import Dim
from octavo_platforms.program import ProgramDef
from octavo_platforms.shapes import Miss, ShapePolicy

CLIMBED = ("T", "R", "S", "U", "M", "Q")  # of the launch face; a program may have its own
OF_A_TOKEN = ("R", "S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Sizes from `least` on, each `factor` times the last."""

    least: int
    factor: int

    def up_to(self, most: int) -> tuple[int, ...]:
        """Give the sizes below a largest one, and that one."""
        found, size = [], self.least
        while size < most:
            found.append(size)
            size *= self.factor
        return (*found, most)


def climbing(
    program: ProgramDef, ladder_of: Mapping[str, Ladder], *, miss: Miss = "exact"
) -> ShapePolicy:
    """Give a program's buckets, by the ladders of some symbols."""
    buckets = {
        symbol.name: ladder_of[symbol.name].up_to(symbol.maximum)
        if symbol.name in ladder_of
        else (symbol.maximum,)
        for symbol in program.symbols
        if symbol.name in climbed(program)
    }
    return ShapePolicy(MappingProxyType(buckets), miss).of(program)


def climbed(program: ProgramDef, *, left_out: Collection[str] = ()) -> tuple[str, ...]:
    """Name the symbols whose sizes differ from launch to launch: those of the entries' inputs.

    Those that only entries have that are `left_out` are not named.
    """
    own = (
        size.symbol
        for name, graph in program.entries.items()
        if name not in left_out
        for leaf in graph.leaves_of("input")
        for size in graph.tensor_type(leaf.value).shape
        if isinstance(size, Dim)
    )
    declared = {symbol.name for symbol in program.symbols}
    return tuple(name for name in dict.fromkeys((*CLIMBED, *own)) if name in declared)


def occurring(program: ProgramDef, policy: ShapePolicy) -> Iterator[Mapping[str, int]]:
    """Walk the sizes that padded steps can have, the smallest first.

    A symbol that only optional entries have stays at its largest: such steps are rare.
    Each request and each row has a token of its own, so neither can be more than there are.
    """
    most = {symbol.name: symbol.maximum for symbol in program.symbols}
    known = climbed(program, left_out=program.optional)
    for sizes in product(*(policy.buckets.get(symbol, (most[symbol],)) for symbol in known)):
        found = dict(zip(known, sizes, strict=True))
        tokens = found.get("T", 0)
        if all(
            found[each] <= policy.size(each, min(tokens, most[each]))
            for each in OF_A_TOKEN
            if each in found
        ):
            yield {**most, **found}
