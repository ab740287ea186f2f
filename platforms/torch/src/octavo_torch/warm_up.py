"""Warm-up: steps such as the first requests will bring, on the null block and the null seat.

    one token of one request     what a lone user waits for
    one token of every request   the largest steady step
    a piece of a prompt          the largest that is still quick

Knows nothing of programs' insides; entries that want more than a step's own arrays are left.
"""

from __future__ import annotations

import numpy as np

from octavo_platforms.inputs import (
    NULL_BLOCK,
    NULL_SEAT,
    GroupInputs,
    StepInputs,
    StepShape,
    arrays_of,
)
from octavo_platforms.program import ProgramDef

JOINED = "step"
PROMPT_TOKENS = 256


def rehearsals(program: ProgramDef) -> list[StepInputs]:
    """Give the steps to run, of the joined entry if there is one."""
    sizes = {symbol.name: symbol.maximum for symbol in program.symbols}
    if not sizes.keys() >= {"T", "R", "S", "M"}:
        return []
    entries = [JOINED] if JOINED in program.entries else sorted(program.entries)
    block_size = min((state.block_size for state in program.states), default=1)
    most = min(sizes["T"], sizes["R"], sizes["S"])
    piece = min(sizes["T"], sizes["M"] * block_size, PROMPT_TOKENS)
    found = []
    for entry in entries:
        for queries in dict.fromkeys(((1,), (1,) * most, (piece,))):
            inputs = _step(program, entry, queries)
            names = {leaf.name for leaf in program.entries[entry].leaves_of("input")}
            if names <= arrays_of(inputs).keys():
                found.append(inputs)
    return found


def _step(program: ProgramDef, entry: str, queries: tuple[int, ...]) -> StepInputs:
    starts = np.concatenate(([0], np.cumsum(queries))).astype(np.int32)
    num_requests, longest = len(queries), max(queries)
    return StepInputs(
        entry=entry,
        sequence=0,
        shape=StepShape(
            num_tokens=int(starts[-1]),
            num_requests=num_requests,
            num_rows=num_requests,
            max_query=longest,
            max_context=longest,
            uniform_query=longest,
        ),
        token_ids=np.zeros(int(starts[-1]), np.int32),
        query_starts=starts,
        seat=np.full(num_requests, NULL_SEAT, np.int32),
        computed=np.zeros(num_requests, np.int32),
        rows=starts[1:] - np.int32(1),
        sampling=None,
        groups={
            state.name: GroupInputs(
                np.full((num_requests, -(-longest // state.block_size)), NULL_BLOCK, np.int32)
            )
            for state in program.states
        },
    )
