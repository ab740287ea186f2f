"""All cases, in the order in which they are best read and run.

To add one: a function under `@promise` in the file of its level. Knows nothing of platforms.
"""

from __future__ import annotations

from collections.abc import Collection

from octavo_conformance import level0_package, level1_device
from octavo_conformance.case import Case, cases_in
from octavo_conformance.level2_ops import (
    adapters,
    attention,
    choice,
    dense,
    encoder,
    experts,
    launches,
    private,
    rows,
    scores,
    seats,
    state,
)

CASES: tuple[Case, ...] = tuple(
    cases_in(
        level0_package, level1_device, launches, rows, dense, state, attention, choice,
        adapters, encoder, experts, scores, seats, private,
    )
)  # fmt: skip
LEVELS = (0, 1, 2)


def selected(levels: Collection[int] = LEVELS, words: str = "") -> tuple[Case, ...]:
    """Give the cases of some levels whose id holds all of some words."""
    wanted = words.split()
    return tuple(
        case for case in CASES if case.level in levels and all(word in case.id for word in wanted)
    )
