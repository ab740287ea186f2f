"""A note: what changed since the step before, for those who keep arrays of their own.

The scribe keeps of each seat what it wrote last, and writes the difference:

    left, entered     seats whose occupant changed       blocks, tokens   what contexts gained
    seats, num_tokens, computed, rows                    None where they are as foretold

A reader foretells that a step has the seats and counts of the one before, goes on where that
one ended, and gives every request a token. A steady step is then one token for each seat, and a
block for a few. Finding the difference is a few array operations; there is no object for each
request.

Knows nothing of requests, devices or how a note travels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octavo.kv.runs import runs
from octavo.kv.seats import Seats
from octavo.kv.tables import Tables
from octavo.sampling.needs import Want
from octavo.step import Copies, Step
from octavo_platforms.inputs import Ints


@dataclass(frozen=True, slots=True)
class Gains:
    """What rows of some seats gained at their end.

    Shapes: seats int32 [G]; counts int32 [G]; values int32 [the sum of counts], seat by seat.
    """

    seats: Ints
    counts: Ints
    values: Ints


@dataclass(frozen=True, slots=True)
class Dropped:
    """Blocks that rows gave back, because a window has left them behind.

    Shapes: seats int32 [D]; num_blocks int32 [D], the first of the row, so many in all.
    """

    seats: Ints
    num_blocks: Ints


@dataclass(frozen=True, slots=True)
class SeatWant:
    """What the rows of one seat want beyond temperature and seed, which few do."""

    seat: int
    needs: int
    want: Want


@dataclass(frozen=True, slots=True)
class Entered:
    """Seats that have a new occupant. Its context and blocks are gains, from nothing.

    Shapes: all [A]; words uint32 [A, 3], as `SamplingRows` wants them. Units: `computed`
    positions are in the state already, by a prefix hit. `wants` are of those who have any.
    """

    seats: Ints
    tickets: npt.NDArray[np.int64]
    computed: Ints
    words: npt.NDArray[np.uint32]
    wants: tuple[SeatWant, ...]


@dataclass(frozen=True, slots=True)
class StepNote:
    """One step, as the difference to the one before. Changes are applied in this order.

    Shapes: left int32 [L]; admitted int32 [A]; seats, num_tokens, computed int32 [R] and rows
        int64 [S] as in `Step`, or None: as foretold. promised int64 [at most S] as in `Step`, or
        None: all requests where `all_promised`, else nobody; restored and kept as in `Step`, or
        None: nothing is copied.
    """

    sequence: int
    left: Ints
    entered: Entered | None
    blocks: Gains | None
    dropped: Dropped | None
    tokens: Gains | None
    admitted: Ints
    seats: Ints | None
    num_tokens: Ints | None
    computed: Ints | None
    rows: npt.NDArray[np.intp] | None
    promised: npt.NDArray[np.intp] | None
    all_promised: bool
    restored: Copies | None
    kept: Copies | None


class Scribe:
    """Writes notes of the steps of one scheduler, whose seats and tables it reads.

    Every step has to be noted, in order, before the scheduler makes the next.
    """

    def __init__(self, seats: Seats, tables: Tables) -> None:
        self._seats, self._tables = seats, tables
        self._tickets = np.zeros_like(seats.tickets)
        self._known = np.zeros_like(seats.known)
        self._room = np.zeros_like(tables.num_tokens)
        self._first = np.zeros_like(tables.first)
        self._computed = np.zeros_like(seats.computed)
        self._last_seats: Ints = np.zeros(0, np.int32)
        self._last_counts: Ints = np.zeros(0, np.int32)

    def note(self, step: Step) -> StepNote:
        """Write down a step and what changed before it.

        Effects: the note's arrays are its own or the step's; nothing changes them later.
        """
        left, entered = self._occupants(step)
        same_seats = np.array_equal(step.seats, self._last_seats)
        same_counts = same_seats and np.array_equal(step.num_tokens, self._last_counts)
        goes_on = np.array_equal(step.computed, self._computed[step.seats])
        self._computed[step.seats] = step.computed + step.num_tokens
        self._last_seats, self._last_counts = step.seats, step.num_tokens
        return StepNote(
            sequence=step.sequence,
            left=left,
            entered=entered,
            blocks=self._new_blocks(),
            dropped=self._dropped(),
            tokens=self._new_tokens(),
            admitted=step.admitted,
            seats=None if same_seats else step.seats,
            num_tokens=None if same_counts else step.num_tokens,
            computed=None if goes_on else step.computed,
            rows=None if len(step.rows) == len(step.seats) else step.rows,
            promised=None if len(step.promised) in (0, len(step.seats)) else step.promised,
            all_promised=len(step.promised) == len(step.seats),
            restored=step.restored if len(step.restored.seats) else None,
            kept=step.kept if len(step.kept.seats) else None,
        )

    def _occupants(self, step: Step) -> tuple[Ints, Entered | None]:
        seats = self._seats
        changed = np.flatnonzero(seats.tickets != self._tickets).astype(np.int32)
        left = changed[self._tickets[changed] != 0]
        entered = changed[seats.tickets[changed] != 0]
        self._tickets[changed] = seats.tickets[changed]
        self._known[changed] = self._room[changed] = self._computed[changed] = 0
        self._first[changed] = 0
        if not entered.size:
            return left, None
        self._computed[entered] = seats.computed[entered]
        is_new = np.isin(step.seats, entered)
        self._computed[step.seats[is_new]] = step.computed[is_new]
        return left, Entered(
            seats=entered,
            tickets=seats.tickets[entered],
            computed=self._computed[entered],
            words=seats.words[entered],
            wants=tuple(self._wants(entered)),
        )

    def _wants(self, entered: Ints) -> Iterator[SeatWant]:
        needs = self._seats.needs[entered]
        for seat, bits in zip(
            entered[needs != 0].tolist(), needs[needs != 0].tolist(), strict=True
        ):
            want = self._seats.wants[seat]
            assert want is not None, "who needs something wants it"
            yield SeatWant(seat, bits, want)

    def _new_tokens(self) -> Gains | None:
        known = self._seats.known
        grown = np.flatnonzero(known > self._known).astype(np.int32)
        if not grown.size:
            return None
        counts = known[grown] - self._known[grown]
        values = self._seats.contexts[runs(grown, self._known[grown], counts)]
        self._known[grown] = known[grown]
        return Gains(grown, counts, values)

    def _new_blocks(self) -> Gains | None:
        room, size = self._tables.num_tokens, self._tables.block_size
        grown = np.flatnonzero(room > self._room).astype(np.int32)
        if not grown.size:
            return None
        first = self._room[grown] // size
        counts = room[grown] // size - first
        values = self._tables.blocks[runs(grown, first, counts)]
        self._room[grown] = room[grown]
        return Gains(grown, counts, values)

    def _dropped(self) -> Dropped | None:
        first = self._tables.first
        moved = np.flatnonzero(first != self._first).astype(np.int32)
        if not moved.size:
            return None
        self._first[moved] = first[moved]
        return Dropped(moved, first[moved])
