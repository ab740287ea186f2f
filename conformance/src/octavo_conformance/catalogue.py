"""All cases, in the order in which they are best read and run.

To add one: a function under `@promise` in the file of its level. Knows nothing of platforms.
"""

from __future__ import annotations

from collections.abc import Collection

from octavo_conformance import level0_package, level1_device, level3_batch
from octavo_conformance.case import Case, cases_in
from octavo_conformance.level2_ops import (
    adapters,
    attention,
    choice,
    copies,
    cross,
    dense,
    deviations,
    encoder,
    experts,
    latent,
    launches,
    mixed,
    private,
    ranks,
    recurrent,
    rows,
    scores,
    seats,
    shaping,
    state,
)

CASES: tuple[Case, ...] = tuple(
    cases_in(
        level0_package, level1_device, launches, rows, dense, deviations, state, attention,
        latent, choice, adapters, encoder, cross, mixed, recurrent, copies, experts, scores,
        shaping, seats, private, ranks, level3_batch,
    )
)  # fmt: skip
LEVELS = (0, 1, 2, 3)


def selected(levels: Collection[int] = LEVELS, words: str = "") -> tuple[Case, ...]:
    """Give the cases of some levels whose id holds all of some words."""
    wanted = words.split()
    return tuple(
        case for case in CASES if case.level in levels and all(word in case.id for word in wanted)
    )
