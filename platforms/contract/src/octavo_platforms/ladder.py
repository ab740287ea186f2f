"""Ladders: the few sizes that steps may have on a device that compiles each new shape.

A symbol without a ladder has one size, its largest.

Knows nothing of devices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

from octavo_platforms.program import ProgramDef
from octavo_platforms.shapes import Miss, ShapePolicy

CLIMBED = ("T", "R", "S", "U", "M", "Q")
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
        if symbol.name in CLIMBED
    }
    return ShapePolicy(MappingProxyType(buckets), miss)


def occurring(program: ProgramDef, policy: ShapePolicy) -> Iterator[Mapping[str, int]]:
    """Walk the sizes that padded steps can have, the smallest first.

    Each request and each row has a token of its own, so neither can be more than there are.
    """
    most = {symbol.name: symbol.maximum for symbol in program.symbols}
    known = [symbol for symbol in CLIMBED if symbol in most]
    for sizes in product(*(policy.buckets.get(symbol, (most[symbol],)) for symbol in known)):
        found = dict(zip(known, sizes, strict=True))
        tokens = found.get("T", 0)
        if all(
            found[each] <= policy.size(each, min(tokens, most[each]))
            for each in OF_A_TOKEN
            if each in found
        ):
            yield {**most, **found}
