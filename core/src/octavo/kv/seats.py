"""Seats: the stable rows of running requests, and what the host must know of each per step.

What a steady step reads and writes stands here, one array for each quantity, so that a step
over many requests is a few array operations and touches no object.

    known      tokens of the context: the prompt and the output so far
    expected   the same when every launch has been read; what is not known yet is promised
    computed   positions whose launch was made; catch-up means computed -> expected
    end        the context's length at which the request has reached its limit

Knows nothing of requests, blocks or what the numbers are used for.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from octavo.kv.runs import runs
from octavo.sampling.needs import HOSTED, Want
from octavo_platforms.inputs import NO_TOKEN, NULL_SEAT, Ints

_FIRST_STOP_COLUMNS = 1
_LINE_TOKENS = 16


class Seats:
    """All seats but the null seat, and their rows.

    The arrays are indexed by seat. Memory: `contexts` is as wide as the longest context, and
    the operating system backs only the pages that some context has reached.

    Shapes: contexts int32 [seats, max_context]; last int32 [seats], the last known token; stops
        int32 [seats, most stop tokens of any], filled up with `NO_TOKEN`; words uint32 [seats, 3],
        as `SamplingRows` wants them; tickets int64 [seats], a number for each occupancy, 0 where
        there is none; is_late bool [seats], whose next step wants the last token on the host; needs
        uint8 [seats], bits of `sampling.needs`, with `wants` for those who have any. How many are
        late, wanting or hosted is counted, since most steps have nobody who is.
    """

    def __init__(self, *, max_requests: int, max_context_tokens: int) -> None:
        count = max_requests + 1
        # An odd number of cache lines: rows a power of two apart would fall onto the same few.
        width = (-(-max_context_tokens // _LINE_TOKENS) | 1) * _LINE_TOKENS
        self._flat: Ints = np.zeros(count * width, np.int32)
        self._starts = np.arange(count) * width
        self.contexts: Ints = self._flat.reshape(count, -1)[:, :max_context_tokens]
        self.last: Ints = np.zeros(count, np.int32)
        self.known: Ints = np.zeros(count, np.int32)
        self.expected: Ints = np.zeros(count, np.int32)
        self.computed: Ints = np.zeros(count, np.int32)
        self.end: Ints = np.zeros(count, np.int32)
        self.stops: Ints = _no_stops(count, _FIRST_STOP_COLUMNS)
        self.words: npt.NDArray[np.uint32] = np.zeros((count, 3), np.uint32)
        self.tickets: npt.NDArray[np.int64] = np.zeros(count, np.int64)
        self.is_late: npt.NDArray[np.bool_] = np.zeros(count, np.bool_)
        self._free = list(range(NULL_SEAT + 1, count))
        self.needs: npt.NDArray[np.uint8] = np.zeros(count, np.uint8)
        self.wants: list[Want | None] = [None] * count
        self.num_late = 0
        self.num_wanting = 0
        self.num_hosted = 0
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
        is_late: bool = False,
        needs: int = 0,
        want: Want | None = None,
    ) -> int | None:
        """Give the lowest free seat, its row filled; None when there is none."""
        if not self._free:
            return None
        seat = heapq.heappop(self._free)
        self._num_taken_ever += 1
        self.contexts[seat, : len(context)] = context
        self.last[seat] = context[-1]
        self.known[seat] = self.expected[seat] = len(context)
        self.computed[seat] = computed
        self.end[seat] = end
        self._set_stops(seat, stop_ids)
        self.words[seat] = words
        self.is_late[seat] = is_late
        self.num_late += is_late
        self.set_want(seat, needs, want)
        self.tickets[seat] = self._num_taken_ever
        return seat

    def occupy(self, seats: Ints, tickets: npt.NDArray[np.int64]) -> None:
        """Take free seats that were chosen elsewhere, with their tickets and nothing known.

        Shapes: both [A].
        """
        taken = set(seats.tolist())
        self._free = [seat for seat in self._free if seat not in taken]
        heapq.heapify(self._free)
        self.tickets[seats] = tickets

    def extend(self, seats: Ints, counts: Ints, tokens: Ints) -> None:
        """Add known tokens at the end of several seats' contexts.

        Shapes: seats and counts [G]; tokens [the sum of counts], seat by seat.
        """
        self.contexts[runs(seats, self.known[seats], counts)] = tokens
        self.last[seats] = tokens[np.cumsum(counts) - 1]
        self.known[seats] += counts

    def append(self, seats: npt.NDArray[np.intp], tokens: Ints) -> Ints:
        """Add one known token at the end of several seats' contexts; give their lengths then.

        Shapes: all [S], all seats different.
        """
        known = self.known.take(seats)
        self._flat[self._starts.take(seats) + known] = tokens
        self.last[seats] = tokens
        known += 1
        self.known[seats] = known
        return known

    def in_blocks(self, block_size: int) -> npt.NDArray[np.void]:
        """Give the contexts as the bytes of each block's tokens. Effects: the memory is the same.

        Shapes: [seats, blocks that fit into the longest context].
        """
        num_tokens = self.contexts.shape[1] // block_size * block_size
        return self.contexts[:, :num_tokens].view((np.void, block_size * self.contexts.itemsize))

    def context(self, seat: int) -> Ints:
        """Give a copy of a seat's known tokens."""
        return self.contexts[seat, : self.known[seat]].copy()

    def are_stops(self, seats: npt.NDArray[np.intp], tokens: Ints) -> npt.NDArray[np.bool_]:
        """Tell which tokens end the output of the seat that they are for. Shapes: both [S]."""
        first, *more = self.stops.T
        found: npt.NDArray[np.bool_] = first.take(seats) == tokens
        for column in more:
            found |= column.take(seats) == tokens
        return found

    def release(self, seat: int) -> None:
        """Give a seat back; whoever has its old ticket finds that it has expired."""
        assert self.tickets[seat] != 0, "a seat is released by the one who has it"
        self.tickets[seat] = 0
        self.num_late -= int(self.is_late[seat])
        self.is_late[seat] = False
        self.set_want(seat, 0, None)
        self.known[seat] = self.computed[seat] = 0
        heapq.heappush(self._free, seat)

    def set_want(self, seat: int, needs: int, want: Want | None) -> None:
        """Say what a seat's rows want beyond temperature and seed."""
        before = int(self.needs[seat])
        self.num_wanting += bool(needs) - bool(before)
        self.num_hosted += bool(needs & HOSTED) - bool(before & HOSTED)
        self.needs[seat] = needs
        self.wants[seat] = want

    def _set_stops(self, seat: int, stop_ids: Collection[int]) -> None:
        missing = len(stop_ids) - self.stops.shape[1]
        if missing > 0:
            wider = _no_stops(len(self.stops), len(stop_ids))
            wider[:, : self.stops.shape[1]] = self.stops
            self.stops = wider
        self.stops[seat] = NO_TOKEN
        self.stops[seat, : len(stop_ids)] = sorted(stop_ids)


def _no_stops(num_seats: int, num_columns: int) -> Ints:
    """Make rows without stop tokens, kept by column, because they are compared by column."""
    return np.full((num_seats, num_columns), NO_TOKEN, np.int32, order="F")
