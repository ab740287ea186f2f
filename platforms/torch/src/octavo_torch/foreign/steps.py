"""Steps made by hand: a few requests with their tokens and blocks, for proofs and warm-up.

Knows nothing of what runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from octavo_platforms.inputs import NULL_SEAT, GroupInputs, Ints, StepInputs, StepShape


@dataclass(frozen=True, slots=True)
class Part:
    """One request's share of a step: new tokens, how many came before them, its blocks."""

    tokens: Sequence[int]
    computed: int
    blocks: Sequence[int]


def step(parts: Sequence[Part], *, group: str, rows: Sequence[int] | None = None) -> StepInputs:
    """Make a step of `forward`; `rows` are each request's last tokens where none are given."""
    queries = [len(part.tokens) for part in parts]
    starts: Ints = np.concatenate(([0], np.cumsum(queries))).astype(np.int32)
    contexts = [part.computed + len(part.tokens) for part in parts]
    table = np.zeros((len(parts), max(len(part.blocks) for part in parts)), np.int32)
    for row, part in enumerate(parts):
        table[row, : len(part.blocks)] = part.blocks
    wanted = starts[1:] - np.int32(1) if rows is None else np.asarray(rows, np.int32)
    return StepInputs(
        entry="forward",
        sequence=0,
        shape=StepShape(
            num_tokens=int(starts[-1]),
            num_requests=len(parts),
            num_rows=len(wanted),
            max_query=max(queries),
            max_context=max(contexts),
            uniform_query=queries[0] if len(set(queries)) == 1 else None,
        ),
        token_ids=np.concatenate([np.asarray(part.tokens, np.int32) for part in parts]),
        query_starts=starts,
        seat=np.full(len(parts), NULL_SEAT, np.int32),
        computed=np.array([part.computed for part in parts], np.int32),
        rows=wanted,
        sampling=None,
        groups={group: GroupInputs(table)},
    )
