"""Snapshots: states of recurrent groups that are kept behind a prefix, for others to go on from.

A request's state is overwritten as it goes, so what stood behind a prefix is lost unless it was
copied in time. Where a step ends at the end of a block, the state is there for the taking: it
is copied behind the step's launch to a row of nobody's ring, and has the name of that block.

    chunk of a step   |-----------------|--|        cut where a snapshot pays
    snapshots                 ^         ^           where another context branched off; and the
                                                    last block's end that the same prompt can use

A snapshot pays at the last end of a full block of what is known, and where blocks were shared
further than any state was kept, because there two contexts part, and a third may come.
Rows are evicted as blocks are, the longest unused first.

Knows nothing of launches, nor of how many groups there are: a row is one in each of them.
Source: arXiv 2411.19379 section 4.1, on where states are worth keeping.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octavo.kv.pool import BlockId, Pool
from octavo.kv.prefix import Chain
from octavo.kv.runs import Places
from octavo.step import NO_COPIES, Copies
from octavo_platforms.inputs import Ints


class Snapshots:
    """The rows that snapshots may have, and where seats want some.

    Units: `num_rows` leaves out the null row.
    """

    def __init__(self, num_rows: int, *, num_seats: int, block_size: int) -> None:
        self.pool = Pool(num_rows + 1)
        self._size = block_size
        self._ends: list[list[int]] = [[] for _ in range(num_seats)]
        self._next: Ints = np.zeros(num_seats, np.int32)
        self._unnamed: dict[int, list[tuple[int, BlockId]]] = {}
        self._restored: list[tuple[int, int, int]] = []

    def sit(
        self, seat: int, *, row: BlockId | None, computed: int, shared: int, known: int
    ) -> None:
        """Begin a seat's life behind a snapshot, or at the first token.

        Units: `computed` tokens stand behind the snapshot; `shared` are those whose blocks were
            found, and of a context `known` tokens are there.
        """
        last = (known - 1) // self._size * self._size
        self._ends[seat] = sorted({end for end in (shared, last) if end > computed})
        self._turn(seat)
        if row is not None:
            self._restored.append((seat, computed, row))
            # Nobody writes to the row before the launch that reads it: launches run in order.
            self.pool.share([row])
            self.pool.release([row])

    def cut(self, at: Places, computed: Ints, given: Ints) -> Ints:
        """Let no chunk pass an end where a snapshot is wanted. Shapes: all [R]."""
        ends = self._next.take(at)
        is_past = (ends > computed) & (computed + given > ends)
        return np.where(is_past, ends - computed, given).astype(np.int32)

    def take(self, at: Places, reached: Ints) -> Copies:
        """Say which states to keep behind a step, by seats and how far they will be computed.

        Shapes: both [R]. Effects: rows are held until they have a name.
        """
        kept: list[tuple[int, int, int]] = []
        for place in np.flatnonzero(reached % self._size == 0).tolist():
            seat, end = int(at[place]), int(reached[place])
            rows = self.pool.take(1)
            if rows is None:
                break
            kept.append((seat, end, rows[0]))
            self._unnamed.setdefault(seat, []).append((end, rows[0]))
        ends = self._next.take(at)
        for place in np.flatnonzero((ends > 0) & (reached >= ends)).tolist():
            seat = int(at[place])
            self._ends[seat] = [end for end in self._ends[seat] if end > reached[place]]
            self._turn(seat)
        return _copies(kept)

    def restored(self) -> Copies:
        """Give the states that have to be brought back before the next step's launch."""
        found, self._restored = self._restored, []
        return _copies(found)

    def unnamed(self) -> Sequence[int]:
        """Give the seats with snapshots that have no name yet."""
        return list(self._unnamed)

    def name(self, seat: int, chain: Chain, context: Ints) -> None:
        """Name the snapshots of a seat that stand behind known tokens. Shapes: context [known]."""
        waiting = self._unnamed.pop(seat, [])
        for end, row in waiting:
            if end <= len(context):
                self.pool.remember(row, chain.name(end // self._size - 1, context, self._size))
                self.pool.release([row])
        if late := [each for each in waiting if each[0] > len(context)]:
            self._unnamed[seat] = late

    def leave(self, seat: int) -> None:
        """Let go of what was kept for a seat and has no name."""
        self.pool.release(row for _, row in self._unnamed.pop(seat, []))
        self._ends[seat] = []
        self._turn(seat)

    def _turn(self, seat: int) -> None:
        self._next[seat] = self._ends[seat][0] if self._ends[seat] else 0


def _copies(found: Sequence[tuple[int, int, int]]) -> Copies:
    if not found:
        return NO_COPIES
    seats, positions, rows = np.array(found, np.int32).T
    return Copies(seats, positions, rows)
