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
from octavo.kv.runs import Places
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

    `tables` are those of all groups of blocks, by name, and `rings` say how many rows each seat has
    in recurrent groups. `wanted` has the arrays of rows that want more than temperature and seed.
    """

    def __init__(
        self,
        seats: Seats,
        tables: Mapping[str, Tables],
        *,
        max_step_tokens: int,
        rings: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        max_requests = len(seats.known) - 1
        self.seats = seats
        self._rows = {name: Rows(each, max_requests=max_requests) for name, each in tables.items()}
        self._rings = rings
        self._sources: Ints = np.zeros(max_step_tokens, np.int32)
        self._ticks: Ints = np.arange(max_step_tokens + 1, dtype=np.int32)
        self._query_starts: Ints = np.zeros(max_requests + 1, np.int32)
        self.wanted = Wanted(seats)

    def inputs(self, step: Step, *, entry: str) -> StepInputs:
        """Give the inputs of a step's launch.

        Effects: the arrays are views that the next call overwrites.
        """
        num_requests, at = len(step.seats), step.seats.astype(np.intp)
        starts = self._starts(step)
        shape = self._shape(step, starts)
        ends, all_rows = starts[1:], len(step.rows) == num_requests
        return StepInputs(
            entry=entry,
            sequence=step.sequence,
            shape=shape,
            token_ids=self._gather_tokens(step, at, starts, shape),
            query_starts=starts,
            seat=step.seats,
            computed=step.computed,
            rows=(ends if all_rows else ends[step.rows]) - np.int32(1),
            sampling=self._sampling(step),
            groups=self._groups(step, at, shape),
            token_from=self._token_from(step, ends, shape),
            row_seat=step.seats if all_rows else step.seats[step.rows],
        )

    def _starts(self, step: Step) -> Ints:
        """Say where the tokens of each request begin. Shapes: [R+1]."""
        num_requests = len(step.seats)
        if np.add.reduce(step.num_tokens) == num_requests:
            return self._ticks[: num_requests + 1]
        starts = self._query_starts[: num_requests + 1]
        np.cumsum(step.num_tokens, out=starts[1:])
        return starts

    def _shape(self, step: Step, starts: Ints) -> StepShape:
        num_tokens, num_requests, counts = int(starts[-1]), len(step.seats), step.num_tokens
        most = 1 if num_tokens == num_requests else int(counts.max())
        return StepShape(
            num_tokens=num_tokens,
            num_requests=num_requests,
            num_rows=len(step.rows),
            max_query=most,
            max_context=int((step.computed + counts).max()),
            uniform_query=most if most * num_requests == num_tokens else None,
        )

    def _gather_tokens(self, step: Step, at: Places, starts: Ints, shape: StepShape) -> Ints:
        if shape.uniform_query == 1 and shape.num_rows == shape.num_requests:
            return self.seats.last.take(at)  # nobody has the device's last token yet: it is ignored
        owners = np.repeat(at, step.num_tokens)
        positions = np.repeat(step.computed - starts[:-1], step.num_tokens)
        positions += self._ticks[: shape.num_tokens]
        return self.seats.contexts[owners, positions]

    def _token_from(self, step: Step, ends: Ints, shape: StepShape) -> Ints | None:
        """Say which tokens only the device knows: the last of those who are promised one."""
        if not len(step.promised):
            return None
        source = self._sources[: shape.num_tokens]
        source[:] = 0
        is_single = shape.num_tokens == shape.num_requests
        source[step.promised if is_single else ends[step.promised] - 1] = 1
        return source

    def _sampling(self, step: Step) -> SamplingRows | None:
        if not len(step.admitted):
            return None
        return SamplingRows(step.admitted, self.seats.words[step.admitted])

    def _groups(self, step: Step, at: Places, shape: StepShape) -> Mapping[str, GroupInputs]:
        blocks = {
            name: GroupInputs(rows.of(at, step.tickets, max_context=shape.max_context))
            for name, rows in self._rows.items()
        }
        return {**blocks, **groups_of(step.seats, self._rings)} if self._rings else blocks
