"""The batch: a step as the host arrays that a program is launched with.

The arrays are made once, as large as any step can need, and written in place; a launch gets
views of them. A table row is copied only when it changed: while one ticket has a seat its blocks
only grow, so ticket and room together say whether a row is still right.

Knows nothing of requests, scheduling or devices.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from octavo.kv.seats import Seats
from octavo.kv.tables import Tables
from octavo.step import Step
from octavo_platforms.inputs import (
    GroupInputs,
    Ints,
    SamplingRows,
    StepInputs,
    StepShape,
)


class Batch:
    """Host arrays for steps over these seats and tables, written in place.

    `group` is the name of the state group that the tables are of.
    """

    def __init__(self, seats: Seats, tables: Tables, *, group: str, max_step_tokens: int) -> None:
        max_requests = len(seats.known) - 1
        self._seats = seats
        self._tables = tables
        self._group = group
        self._token_ids: Ints = np.zeros(max_step_tokens, np.int32)
        self._ticks: Ints = np.arange(max_step_tokens, dtype=np.int32)
        self._query_starts: Ints = np.zeros(max_requests + 1, np.int32)
        self._row_tables: Ints = np.zeros((max_requests, tables.blocks.shape[1]), np.int32)
        self._row_tickets = np.zeros(max_requests, np.int64)
        self._row_rooms: Ints = np.zeros(max_requests, np.int32)
        self._widest = 0

    def inputs(self, step: Step, *, entry: str) -> StepInputs:
        """Give the inputs of a step's launch.

        Effects: the arrays are views that the next call overwrites.
        """
        num_requests = len(step.seats)
        starts = self._query_starts[: num_requests + 1]
        np.cumsum(step.num_tokens, out=starts[1:])
        max_query = int(step.num_tokens.max())
        shape = StepShape(
            num_tokens=int(starts[-1]),
            num_requests=num_requests,
            num_rows=len(step.rows),
            max_query=max_query,
            max_context=int((step.computed + step.num_tokens).max()),
            uniform_query=max_query if max_query == int(step.num_tokens.min()) else None,
        )
        return StepInputs(
            entry=entry,
            sequence=step.sequence,
            shape=shape,
            token_ids=self._gather_tokens(step, starts, shape),
            query_starts=starts,
            seat=step.seats,
            computed=step.computed,
            rows=starts[1:][step.rows] - np.int32(1),
            sampling=self._sampling(step),
            groups=self._groups(step, shape),
        )

    def _gather_tokens(self, step: Step, starts: Ints, shape: StepShape) -> Ints:
        token_ids = self._token_ids[: shape.num_tokens]
        if shape.uniform_query == 1:
            token_ids[:] = self._seats.contexts[step.seats, step.computed]
            return token_ids
        seats = np.repeat(step.seats, step.num_tokens)
        positions = np.repeat(step.computed - starts[:-1], step.num_tokens)
        positions += self._ticks[: shape.num_tokens]
        token_ids[:] = self._seats.contexts[seats, positions]
        return token_ids

    def _sampling(self, step: Step) -> SamplingRows | None:
        if not len(step.admitted):
            return None
        return SamplingRows(step.admitted, self._seats.words[step.admitted])

    def _groups(self, step: Step, shape: StepShape) -> Mapping[str, GroupInputs]:
        count, tables = shape.num_requests, self._tables
        tickets, rooms = self._row_tickets[:count], self._row_rooms[:count]
        room = tables.num_tokens[step.seats]
        stale = np.flatnonzero((tickets != step.tickets) | (rooms != room))
        if stale.size:
            self._widest = max(self._widest, tables.num_blocks_for(int(room[stale].max())))
            seats = step.seats[stale]
            self._row_tables[stale, : self._widest] = tables.blocks[seats, : self._widest]
            tickets[stale] = step.tickets[stale]
            rooms[stale] = room[stale]
        width = tables.num_blocks_for(shape.max_context)
        return {self._group: GroupInputs(self._row_tables[:count, :width])}
