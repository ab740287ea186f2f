"""Copying states: from rings to snapshots and back, on the device, between the steps.

Knows nothing of why a state is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from octavo.graph.passes.copies import COPY
from octavo.kv.rings import row_at
from octavo.step import Copies
from octavo_platforms.inputs import Ints, StepInputs, StepShape
from octavo_platforms.platform import Program
from octavo_platforms.shapes import padded

_NOBODY: Ints = np.zeros(0, np.int32)
_NOTHING = StepShape(0, 0, 0, 0, 0, None)


@dataclass(frozen=True, slots=True)
class Copier:
    """Launches the entry that copies rows, in every recurrent group.

    `rings` say how many rows each seat has, by group; snapshots stand behind those of
    `max_requests` seats. A launch has `width` copies, padded with the null row, because each
    width would be compiled.
    """

    program: Program
    rings: Mapping[str, int]
    max_requests: int
    width: int

    def warm_up(self) -> None:
        """Copy the null row to itself, so that no request waits for this to be compiled."""
        nothing = self._padded(_NOBODY)
        self._launch(dict.fromkeys(self.rings, (nothing, nothing)))

    def restore(self, copies: Copies) -> None:
        """Bring states back into rings."""
        for part in self._parts(copies):
            self._launch({name: self._rows(part, name)[::-1] for name in self.rings})

    def keep(self, copies: Copies) -> None:
        """Keep states of rings."""
        for part in self._parts(copies):
            self._launch({name: self._rows(part, name) for name in self.rings})

    def _parts(self, copies: Copies) -> list[Copies]:
        cuts = range(0, len(copies.seats), max(1, self.width))
        return [
            Copies(
                *(
                    each[cut : cut + self.width]
                    for each in (copies.seats, copies.positions, copies.rows)
                )
            )
            for cut in cuts
        ]

    def _rows(self, copies: Copies, name: str) -> tuple[Ints, Ints]:
        """Give the rows in seats' rings and those of snapshots. Shapes: both [C]."""
        ring = self.rings[name]
        return (
            row_at(copies.seats, copies.positions, ring),
            self.max_requests * ring + copies.rows,
        )

    def _launch(self, rows: Mapping[str, tuple[Ints, Ints]]) -> None:
        extra: dict[str, Ints] = {}
        for name, (sources, targets) in rows.items():
            extra[f"copy_from.{name}"] = self._padded(sources)
            extra[f"copy_to.{name}"] = self._padded(targets)
        inputs = StepInputs(
            entry=COPY,
            sequence=0,
            shape=_NOTHING,
            token_ids=_NOBODY,
            query_starts=np.zeros(1, np.int32),
            seat=_NOBODY,
            computed=_NOBODY,
            rows=_NOBODY,
            sampling=None,
            groups={},
            extra=extra,
        )
        self.program.launch(padded(inputs, self.program.shape_policy))

    def _padded(self, rows: Ints) -> Ints:
        made: Ints = np.zeros(self.width, np.int32)
        made[: len(rows)] = rows
        return made
