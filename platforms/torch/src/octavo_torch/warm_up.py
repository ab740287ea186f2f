"""Warm-up: steps such as the first requests will bring, on the null block and the null seat.

    one token of one request     what a lone user waits for
    one token of every request   the largest steady step
    a piece of a prompt          the largest that is still quick

A platform with buckets runs an empty step of each size instead: there, what runs follows from
the sizes alone, and a step of padding is as good as any.

Knows nothing of programs' insides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from octavo_platforms.graph import Dim
from octavo_platforms.inputs import (
    NULL_BLOCK,
    NULL_SEAT,
    RANK_TOKENS,
    DeviceRef,
    GroupInputs,
    SamplingRows,
    StepInputs,
    StepShape,
    arrays_of,
)
from octavo_platforms.ladder import occurring
from octavo_platforms.ops.op import fixed
from octavo_platforms.program import ProgramDef, StateSpec
from octavo_platforms.shapes import ShapePolicy
from octavo_platforms.tensor import Array, storage

Sizes = Mapping[str, int]

JOINED = "step"
PROMPT_TOKENS = 256


def rehearsals(program: ProgramDef, policy: ShapePolicy) -> list[StepInputs]:
    """Give the steps to run, of the joined entry if there is one."""
    symbols = {symbol.name for symbol in program.symbols}
    if not symbols >= {"T", "R", "S", "M"}:
        return []
    entries = [JOINED] if JOINED in program.entries else sorted(program.entries)
    steps = _empty_steps(program, policy) if policy.buckets else _likely_steps(program)
    ranks = _ranks_of(program)
    return [
        _filled(replace(inputs, shape=_beside(inputs.shape, ranks)), program, entry, sizes)
        for sizes, inputs in steps
        for entry in entries
    ]


def _filled(inputs: StepInputs, program: ProgramDef, entry: str, sizes: Sizes) -> StepInputs:
    """Make a step one of an entry: what this declares itself is zeros, as padding has it."""
    graph, known = program.entries[entry], arrays_of(inputs)
    own = [leaf for leaf in graph.leaves_of("input") if leaf.name not in known]
    extra: dict[str, Array | DeviceRef] = {}
    for leaf in own:
        declared = graph.tensor_type(leaf.value)
        extents = [size.at(sizes) if isinstance(size, Dim) else size for size in declared.shape]
        extra[leaf.name] = np.zeros(extents, storage(declared.dtype))
    return replace(inputs, entry=entry, extra=extra)


def _ranks_of(program: ProgramDef) -> int | None:
    """Count the ranks that launch together, None for one that launches alone."""
    for graph in program.entries.values():
        for leaf in graph.leaves_of("input"):
            if leaf.name == RANK_TOKENS:
                return fixed(graph.tensor_type(leaf.value).shape[0])
    return None


def _beside(shape: StepShape, ranks: int | None) -> StepShape:
    """Let every rank have as many tokens as this one: all of them warm up at the same time."""
    return shape if ranks is None else replace(shape, rank_tokens=(shape.num_tokens,) * ranks)


def _empty_steps(program: ProgramDef, policy: ShapePolicy) -> Iterator[tuple[Sizes, StepInputs]]:
    for sizes in occurring(program, policy):
        num_requests, num_changed = sizes["R"], sizes.get("U", 0)
        yield (
            sizes,
            StepInputs(
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
                    state.name: _nobodys(state, num_requests, sizes[_width_of(state, program)])
                    for state in program.states
                },
            ),
        )


def _likely_steps(program: ProgramDef) -> Iterator[tuple[Sizes, StepInputs]]:
    sizes = {symbol.name: symbol.maximum for symbol in program.symbols}
    paged = (state.block_size for state in program.states if state.kind != "recurrent")
    block_size = min(paged, default=1)
    most = min(sizes["T"], sizes["R"], sizes["S"])
    piece = min(sizes["T"], sizes["M"] * block_size, PROMPT_TOKENS)
    for queries in dict.fromkeys(((1,), (1,) * most, (piece,))):
        own = {"T": sum(queries), "R": len(queries), "S": len(queries)}
        yield {**sizes, **own}, _step(program, queries)


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
            state.name: _nobodys(state, num_requests, -(-longest // state.block_size))
            for state in program.states
        },
    )


def _width_of(state: StateSpec, program: ProgramDef) -> str:
    """Name the symbol that the program's entries declare a group's table with."""
    for graph in program.entries.values():
        for leaf in graph.leaves_of("input"):
            width = graph.tensor_type(leaf.value).shape[-1]
            if leaf.name == f"block_table.{state.name}" and isinstance(width, Dim):
                return width.symbol
    return "M"


def _nobodys(state: StateSpec, num_requests: int, num_blocks: int) -> GroupInputs:
    """Give requests null blocks, or null rows."""
    width = 0 if state.kind == "recurrent" else num_blocks
    blocks = np.full((num_requests, width), NULL_BLOCK, np.int32)
    rows = np.full((num_requests, state.ring), NULL_BLOCK, np.int32)
    lengths = np.zeros(num_requests, np.int32)
    return GroupInputs(
        blocks,
        rows if state.kind == "recurrent" else None,
        lengths if state.kind == "cross" else None,
    )
