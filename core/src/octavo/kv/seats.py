"""Seats: the stable rows of running requests, and what the host must know of each per step.

What a steady step reads and writes stands here, one array for each quantity, so that a step
over many requests is a few array operations and touches no object.

    known      tokens of the context: the prompt and the output so far
    computed   positions whose launch was made; catch-up means computed -> known
    end        the context's length at which the request has reached its limit

Knows nothing of requests, blocks or what the numbers are used for.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from octavo_platforms.inputs import NULL_SEAT, Ints

NO_TOKEN = -1
_FIRST_STOP_COLUMNS = 8


class Seats:
    """All seats but the null seat, and their rows.

    The arrays are indexed by seat. Memory: `contexts` is as wide as the longest context, and
    the operating system backs only the pages that some context has reached.

    Shapes: contexts int32 [seats, max_context]; stops int32 [seats, most stop tokens of any],
        filled up with `NO_TOKEN`; words uint32 [seats, 3], as `SamplingRows` wants them;
        tickets int64 [seats], a number for each occupancy, 0 where there is none.
    """

    def __init__(self, *, max_requests: int, max_context_tokens: int) -> None:
        count = max_requests + 1
        self.contexts: Ints = np.zeros((count, max_context_tokens), np.int32)
        self.known: Ints = np.zeros(count, np.int32)
        self.computed: Ints = np.zeros(count, np.int32)
        self.end: Ints = np.zeros(count, np.int32)
        self.stops: Ints = np.full((count, _FIRST_STOP_COLUMNS), NO_TOKEN, np.int32)
        self.words: npt.NDArray[np.uint32] = np.zeros((count, 3), np.uint32)
        self.tickets: npt.NDArray[np.int64] = np.zeros(count, np.int64)
        self._free = list(range(NULL_SEAT + 1, count))
        self._num_taken_ever = 0

    @property
    def num_free(self) -> int:
        """Give the number of seats that nobody has."""
        return len(self._free)

    @property
    def num_taken(self) -> int:
        """Give the number of seats that somebody has."""
        return len(self.known) - 1 - len(self._free)

    def take(
        self,
        context: Ints,
        *,
        computed: int,
        end: int,
        stop_ids: Collection[int],
        words: tuple[int, int, int],
    ) -> int | None:
        """Give the lowest free seat, its row filled; None when there is none."""
        if not self._free:
            return None
        seat = heapq.heappop(self._free)
        self._num_taken_ever += 1
        self.contexts[seat, : len(context)] = context
        self.known[seat] = len(context)
        self.computed[seat] = computed
        self.end[seat] = end
        self._set_stops(seat, stop_ids)
        self.words[seat] = words
        self.tickets[seat] = self._num_taken_ever
        return seat

    def context(self, seat: int) -> Ints:
        """Give a copy of a seat's known tokens."""
        return self.contexts[seat, : self.known[seat]].copy()

    def release(self, seat: int) -> None:
        """Give a seat back; whoever has its old ticket finds that it has expired."""
        assert self.tickets[seat] != 0, "a seat is released by the one who has it"
        self.tickets[seat] = 0
        self.known[seat] = self.computed[seat] = 0
        heapq.heappush(self._free, seat)

    def _set_stops(self, seat: int, stop_ids: Collection[int]) -> None:
        missing = len(stop_ids) - self.stops.shape[1]
        if missing > 0:
            wider = np.full((len(self.stops), missing), NO_TOKEN, np.int32)
            self.stops = np.concatenate([self.stops, wider], axis=1)
        self.stops[seat] = NO_TOKEN
        self.stops[seat, : len(stop_ids)] = sorted(stop_ids)
