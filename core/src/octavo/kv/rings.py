"""Rings: the rows of recurrent states, of which each seat has its own, and snapshots behind them.

    seat 1   rows 1 to W        seat 2   rows W + 1 to 2W        ...        snapshots

A request's state is overwritten as it goes, in the rows of its seat, so nothing has to be given,
counted or released: whoever sits down starts from zeros, or from what was kept of another.
A prefix hit is legal only where every group can give what is behind it.

Knows nothing of requests, nor of what a row holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from octavo.kv.groups import Group
from octavo_platforms.inputs import NULL_SEAT, GroupInputs, Ints
from octavo_platforms.program import StateSpec


def rows_of(seats: Ints, ring: int) -> Ints:
    """Give the rows of some seats; those of the null seat are null. Shapes: [R]; [R, ring]."""
    found = 1 + (seats[:, None] - 1) * ring + np.arange(ring, dtype=np.int32)
    return np.where(seats[:, None] == NULL_SEAT, 0, found).astype(np.int32)


def row_at(seats: Ints, positions: Ints, ring: int) -> Ints:
    """Give the rows of seats' states after so many positions. Shapes: all [C]."""
    return 1 + (seats - 1) * ring + (positions - 1) % ring


def groups_of(seats: Ints, rings: Mapping[str, int]) -> Mapping[str, GroupInputs]:
    """Give what a launch says of recurrent groups, by how many rows each seat has. Shapes: [R]."""
    none: Ints = np.zeros((len(seats), 0), np.int32)
    return {name: GroupInputs(none, rows_of(seats, ring)) for name, ring in rings.items()}


def rings_of(states: Sequence[StateSpec]) -> Mapping[str, int]:
    """Give the rows that each seat has, by recurrent group."""
    return {state.name: state.ring for state in states if state.kind == "recurrent"}


def can_share(states: Sequence[StateSpec]) -> bool:
    """Tell whether all that is behind a prefix stands in blocks, which requests can share."""
    return all(state.kind in ("paged", "window") for state in states)


def blocks_of(
    states: Sequence[StateSpec],
    *,
    num_blocks: Mapping[str, int] | int,
    max_requests: int,
    num_snapshots: int = 0,
) -> Mapping[str, int]:
    """Give how many blocks or rows each group holds, the null ones included.

    `num_blocks` are those of groups of blocks, by name or of each.
    """
    return {
        state.name: 1 + max_requests * state.ring + num_snapshots
        if state.kind == "recurrent"
        else (num_blocks if isinstance(num_blocks, int) else num_blocks[state.name])
        for state in states
    }


def num_snapshots_of(
    states: Sequence[StateSpec], num_blocks: Mapping[str, int], *, max_requests: int
) -> int:
    """Count the rows behind the rings that every recurrent group has; none without such a group."""
    spare = [num_blocks[name] - 1 - max_requests * ring for name, ring in rings_of(states).items()]
    return max(0, min(spare, default=0))


def held_groups(states: Sequence[StateSpec], num_blocks: Mapping[str, int]) -> Sequence[Group]:
    """Give the groups whose blocks requests hold, those that see everything first."""
    found = [
        Group(state.name, num_blocks[state.name], state.window)
        for state in states
        if state.kind in ("paged", "window")
    ]
    return sorted(found, key=lambda group: group.window is not None)
