"""Steps: the causes of one launch, written down briefly.

`Step(queries=(3, 1), computed=(0, 5))` is two requests, three new tokens of one and the
sixth of the other; what is not said takes the plainest value. Knows nothing of programs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from octavo_platforms.inputs import (
    DeviceRef,
    GroupInputs,
    Ints,
    StepInputs,
    StepShape,
)
from octavo_platforms.tensor import Array

GROUP = "kv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Requests by their new tokens and computed positions, and what else a launch says.

    `rows` are the last token of each request, `seats` 1, 2, 3, ..., `tables` one null block,
    where they are not given. `lengths` are what the group has of each request, if it is of the
    kind `cross`; `more` are other groups.
    """

    queries: Sequence[int]
    computed: Sequence[int] | None = None
    token_ids: Sequence[int] | None = None
    seats: Sequence[int] | None = None
    rows: Sequence[int] | None = None
    tables: Sequence[Sequence[int]] | None = None
    lengths: Sequence[int] | None = None
    more: Mapping[str, GroupInputs] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def num_tokens(self) -> int:
        """Count the new tokens."""
        return sum(self.queries)

    @property
    def row_ids(self) -> Ints:
        """Give the rows that are wanted. Shapes: [S]."""
        return self.starts[1:] - 1 if self.rows is None else ints(self.rows)

    @property
    def starts(self) -> Ints:
        """Give each request's first token, and the number of tokens. Shapes: [R+1]."""
        return np.concatenate([[0], np.cumsum(self.queries)]).astype(np.int32)

    @property
    def owners(self) -> Ints:
        """Give the request of each row. Shapes: [S]."""
        return np.searchsorted(self.starts, self.row_ids, side="right").astype(np.int32) - 1

    @property
    def before(self) -> Ints:
        """Give each request's computed positions. Shapes: [R]."""
        return ints(self.computed if self.computed is not None else [0] * len(self.queries))

    @property
    def table(self) -> Ints:
        """Give the block table, padded with the null block. Shapes: [R, M]."""
        rows = self.tables if self.tables is not None else [[0]] * len(self.queries)
        width = max(map(len, rows), default=1)
        return ints([[*row, *[0] * (width - len(row))] for row in rows]).reshape(len(rows), width)

    def inputs(
        self, entry: str, sequence: int, extra: Mapping[str, Array | DeviceRef]
    ) -> StepInputs:
        """Write it out for one launch."""
        num_requests = len(self.queries)
        tokens = [0] * self.num_tokens if self.token_ids is None else self.token_ids
        seats = list(range(1, num_requests + 1)) if self.seats is None else self.seats
        uniform = self.queries[0] if len(set(self.queries)) == 1 else None
        contexts = self.before + np.asarray(self.queries, np.int32)
        shape = StepShape(
            num_tokens=self.num_tokens,
            num_requests=num_requests,
            num_rows=len(self.row_ids),
            max_query=max(self.queries, default=0),
            max_context=int(contexts.max(initial=0)),
            uniform_query=uniform,
        )
        return StepInputs(
            entry=entry,
            sequence=sequence,
            shape=shape,
            token_ids=ints(tokens),
            query_starts=self.starts,
            seat=ints(seats),
            computed=self.before.copy(),
            rows=self.row_ids,
            sampling=None,
            groups={GROUP: self._group(), **self.more},
            extra=extra,
            row_seat=ints(seats)[self.owners],
        )

    def _group(self) -> GroupInputs:
        lengths = None if self.lengths is None else ints(self.lengths)
        return GroupInputs(self.table, lengths=lengths)


def ints(values: object) -> Ints:
    """Make an int32 array of its own."""
    return np.array(values, dtype=np.int32)
