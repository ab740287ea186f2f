"""Rows: the block table of those in a step, as launches get it.

The array is made once and written in place; a row is copied only when it changed. While one
ticket has a seat, the number of edits tells whether what was copied is still right.

Knows nothing of steps, nor of which group the table is of.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from octavo.kv.runs import Places
from octavo.kv.tables import Tables
from octavo_platforms.inputs import Ints


class Rows:
    """Rows of one table, those of a step side by side."""

    def __init__(self, tables: Tables, *, max_requests: int) -> None:
        self._tables = tables
        self._blocks: Ints = np.zeros((max_requests, tables.blocks.shape[1]), np.int32)
        self._tickets = np.zeros(max_requests, np.int64)
        self._edits: Ints = np.zeros(max_requests, np.int32)
        self._widest = 0

    def of(self, at: Places, tickets: npt.NDArray[np.int64], *, max_context: int) -> Ints:
        """Give the rows of some seats, wide enough for the longest of their contexts.

        Shapes: at and tickets [R]; returns [R, M]. Effects: the next call overwrites them.
        """
        tables, count = self._tables, len(at)
        seen, edits = self._tickets[:count], self._edits[:count]
        now = tables.edits.take(at)
        stale = ((seen != tickets) | (edits != now)).nonzero()[0]
        if stale.size:
            changed = at[stale]
            longest = int(tables.num_tokens.take(changed).max())
            self._widest = max(self._widest, tables.num_blocks_for(longest))
            self._blocks[stale, : self._widest] = tables.blocks[changed, : self._widest]
            seen[stale] = tickets[stale]
            edits[stale] = now[stale]
        return self._blocks[:count, : tables.num_blocks_for(max_context)]
