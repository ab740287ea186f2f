"""Scratch memory: where the values that a launch makes for itself lie, planned once.

A value lives from the instruction that makes it to the last that reads it; two that never live
at once may share memory. Sizes are the largest that the program is made for, so that a launch
allocates nothing.

Knows nothing of what the values are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ALIGNMENT_BYTES = 64


@dataclass(frozen=True, slots=True)
class Life:
    """A value's size, the instruction that makes it and the last that touches it."""

    num_bytes: int
    first: int
    last: int


def plan(lives: Mapping[int, Life]) -> tuple[dict[int, int], int]:
    """Give each value an offset, the lowest that is free for all its life, and the whole size.

    Units: bytes; offsets are multiples of 64.
    """
    offsets: dict[int, int] = {}
    living: list[tuple[int, int, int]] = []  # offset, end, last; by offset
    size = 0
    for value, life in sorted(lives.items(), key=lambda item: item[1].first):
        living = [each for each in living if each[2] >= life.first]
        extent = -(-max(life.num_bytes, 1) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        offset = _lowest_gap(living, extent)
        offsets[value] = offset
        living = sorted([*living, (offset, offset + extent, life.last)])
        size = max(size, offset + extent)
    return offsets, size


def _lowest_gap(living: Sequence[tuple[int, int, int]], extent: int) -> int:
    offset = 0
    for start, end, _ in living:
        if start - offset >= extent:
            break
        offset = max(offset, end)
    return offset
