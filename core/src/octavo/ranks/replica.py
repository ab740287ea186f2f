"""A replica: seats, tables and steps as the scheduler has them, from notes alone.

Knows nothing of requests, devices or how a note travels.
"""

from __future__ import annotations

import numpy as np

from octavo.errors import InternalError
from octavo.kv.seats import Seats
from octavo.kv.tables import Tables
from octavo.ranks.note import Entered, StepNote
from octavo.step import NO_COPIES, Step
from octavo_platforms.inputs import Ints


class Replica:
    """Applies notes to seats and tables, which nobody else changes.

    What it keeps is what a batch reads; who asked for a request, when it ends and which tokens
    stop it, the scheduler alone knows. Without `chooses`, where tokens are chosen elsewhere, what
    rows want is left out.
    """

    def __init__(self, seats: Seats, tables: Tables, *, chooses: bool = True) -> None:
        self._seats, self._tables = seats, tables
        self._chooses = chooses
        self._sequence: int | None = None
        self._last_seats: Ints = np.zeros(0, np.int32)
        self._last_counts: Ints = np.zeros(0, np.int32)

    def step(self, note: StepNote) -> Step:
        """Apply a note and give the step that it was written of, without request ids.

        Raises: InternalError, for a note that does not follow the one before.
        """
        if self._sequence is not None and note.sequence != self._sequence + 1:
            raise InternalError(f"step {note.sequence} arrived after step {self._sequence}")
        self._sequence = note.sequence
        self._apply(note)
        seats = self._last_seats if note.seats is None else note.seats
        counts = self._last_counts if note.num_tokens is None else note.num_tokens
        computed = self._seats.computed[seats] if note.computed is None else note.computed
        self._last_seats, self._last_counts = seats, counts
        self._seats.computed[seats] = computed + counts
        everybody = np.arange(len(seats))
        foretold = everybody if note.all_promised else everybody[:0]
        return Step(
            sequence=note.sequence,
            request_ids=(),
            seats=seats,
            tickets=self._seats.tickets[seats],
            computed=computed,
            num_tokens=counts,
            rows=everybody if note.rows is None else note.rows,
            promised=foretold if note.promised is None else note.promised,
            admitted=note.admitted,
            restored=note.restored or NO_COPIES,
            kept=note.kept or NO_COPIES,
        )

    def _apply(self, note: StepNote) -> None:
        for seat in note.left.tolist():
            self._tables.clear(seat)
            self._seats.release(seat)
        if note.entered is not None:
            self._enter(note.entered)
        if note.blocks is not None:
            self._tables.extend(note.blocks.seats, note.blocks.counts, note.blocks.values)
        if note.dropped is not None:
            pairs = (note.dropped.seats.tolist(), note.dropped.num_blocks.tolist())
            for seat, num_blocks in zip(*pairs, strict=True):
                self._tables.drop(seat, num_blocks)
        if note.tokens is not None:
            self._seats.extend(note.tokens.seats, note.tokens.counts, note.tokens.values)

    def _enter(self, entered: Entered) -> None:
        self._seats.occupy(entered.seats, entered.tickets)
        self._seats.computed[entered.seats] = entered.computed
        self._seats.words[entered.seats] = entered.words
        for each in entered.wants if self._chooses else ():
            self._seats.set_want(each.seat, each.needs, each.want)
