"""Warm-up: steps such as the first requests will bring, on the null block and the null seat.

    one token of one request     what a lone user waits for
    one token of every request   the largest steady step
    a piece of a prompt          the largest that is still quick

A platform with buckets runs an empty step of each size instead: there, what runs follows from
the sizes alone, and a step of padding is as good as any.

Knows nothing of programs' insides; entries that want more than a step's own arrays are left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from octavo_platforms.inputs import (
    NULL_BLOCK,
    NULL_SEAT,
    GroupInputs,
    SamplingRows,
    StepInputs,
    StepShape,
    arrays_of,
)
from octavo_platforms.ladder import occurring
from octavo_platforms.program import ProgramDef
from octavo_platforms.shapes import ShapePolicy

JOINED = "step"
PROMPT_TOKENS = 256


def rehearsals(program: ProgramDef, policy: ShapePolicy) -> list[StepInputs]:
    """Give the steps to run, of the joined entry if there is one."""
    symbols = {symbol.name for symbol in program.symbols}
    if not symbols >= {"T", "R", "S", "M"}:
        return []
    entries = [JOINED] if JOINED in program.entries else sorted(program.entries)
    steps = _empty_steps(program, policy) if policy.buckets else _likely_steps(program)
    return [
        replace(inputs, entry=entry)
        for inputs in steps
        for entry in entries
        if {leaf.name for leaf in program.entries[entry].leaves_of("input")}
        <= arrays_of(inputs).keys()
    ]


def _empty_steps(program: ProgramDef, policy: ShapePolicy) -> Iterator[StepInputs]:
    for sizes in occurring(program, policy):
        num_requests, num_changed = sizes["R"], sizes.get("U", 0)
        yield StepInputs(
            entry=JOINED,
            sequence=0,
            shape=StepShape(0, 0, 0, 0, 0, None),
            token_ids=np.zeros(sizes["T"], np.int32),
            query_starts=np.zeros(num_requests + 1, np.int32),
            seat=np.full(num_requests, NULL_SEAT, np.int32),
            computed=np.zeros(num_requests, np.int32),
            rows=np.zeros(sizes["S"], np.int32),
            sampling=SamplingRows(
                np.full(num_changed, NULL_SEAT, np.int32), np.zeros((num_changed, 3), np.uint32)
            ),
            groups={
                state.name: GroupInputs(np.full((num_requests, sizes["M"]), NULL_BLOCK, np.int32))
                for state in program.states
            },
        )


def _likely_steps(program: ProgramDef) -> Iterator[StepInputs]:
    sizes = {symbol.name: symbol.maximum for symbol in program.symbols}
    block_size = min((state.block_size for state in program.states), default=1)
    most = min(sizes["T"], sizes["R"], sizes["S"])
    piece = min(sizes["T"], sizes["M"] * block_size, PROMPT_TOKENS)
    for queries in dict.fromkeys(((1,), (1,) * most, (piece,))):
        yield _step(program, queries)


def _step(program: ProgramDef, queries: tuple[int, ...]) -> StepInputs:
    starts = np.concatenate(([0], np.cumsum(queries))).astype(np.int32)
    num_requests, longest = len(queries), max(queries)
    return StepInputs(
        entry=JOINED,
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
