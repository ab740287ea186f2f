"""The batch: a step as the host arrays that a program is launched with.

The arrays are made once, as large as any step can need, and written in place; a launch gets
views of them. Each group of blocks has its rows (`kv.rows`).

Knows nothing of requests, scheduling or devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from octavo.kv.rings import groups_of
from octavo.kv.rows import Rows
from octavo.kv.seats import Seats
from octavo.kv.tables import Tables
from octavo.step import Step
from octavo.wanted import Wanted
from octavo_platforms.inputs import (
    GroupInputs,
    Ints,
    SamplingRows,
    StepInputs,
    StepShape,
)


class Batch:
    """Host arrays for steps over these seats and tables, written in place.

    `group` is the name of the state group that the tables are of, and `more` has those of all
    other groups of blocks, by name; `wanted` has the arrays of rows that want more than
    temperature and seed. `rings` say how many rows each seat has in recurrent groups, by name.
    """

    def __init__(
        self,
        seats: Seats,
        tables: Tables,
        *,
        group: str,
        max_step_tokens: int,
        more: Mapping[str, Tables] = MappingProxyType({}),
        rings: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        max_requests = len(seats.known) - 1
        self.seats = seats
        self._rows = {
            name: Rows(each, max_requests=max_requests)
            for name, each in {group: tables, **more}.items()
        }
        self._rings = rings
        self._token_ids: Ints = np.zeros(max_step_tokens, np.int32)
        self._sources: Ints = np.zeros(max_step_tokens, np.int32)
        self._ticks: Ints = np.arange(max_step_tokens, dtype=np.int32)
        self._query_starts: Ints = np.zeros(max_requests + 1, np.int32)
        self.wanted = Wanted(seats)

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
            token_from=self._token_from(step, starts, shape),
            row_seat=step.seats if len(step.rows) == num_requests else step.seats[step.rows],
        )

    def _gather_tokens(self, step: Step, starts: Ints, shape: StepShape) -> Ints:
        token_ids = self._token_ids[: shape.num_tokens]
        if shape.uniform_query == 1:
            token_ids[:] = self.seats.contexts[step.seats, step.computed]
            return token_ids
        seats = np.repeat(step.seats, step.num_tokens)
        positions = np.repeat(step.computed - starts[:-1], step.num_tokens)
        positions += self._ticks[: shape.num_tokens]
        token_ids[:] = self.seats.contexts[seats, positions]
        return token_ids

    def _token_from(self, step: Step, starts: Ints, shape: StepShape) -> Ints | None:
        """Say which tokens only the device knows: the last of those who are promised one."""
        if not len(step.promised):
            return None
        source = self._sources[: shape.num_tokens]
        source[:] = 0
        source[starts[1:][step.promised] - 1] = 1
        return source

    def _sampling(self, step: Step) -> SamplingRows | None:
        if not len(step.admitted):
            return None
        return SamplingRows(step.admitted, self.seats.words[step.admitted])

    def _groups(self, step: Step, shape: StepShape) -> Mapping[str, GroupInputs]:
        blocks = {
            name: GroupInputs(rows.of(step.seats, step.tickets, max_context=shape.max_context))
            for name, rows in self._rows.items()
        }
        return {**blocks, **groups_of(step.seats, self._rings)}
