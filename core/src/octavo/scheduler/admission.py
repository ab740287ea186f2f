"""Admission: a seat for one who waits, with blocks for its whole known context.

Blocks that hold the context's beginning already are shared, and what they hold is not computed
again. Knows nothing of order, nor of what is computed when.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octavo.kv.groups import Holdings
from octavo.kv.seats import Seats
from octavo.request import Request, RequestId
from octavo.sampling import sampling_words
from octavo.sampling.needs import SCORED, Want
from octavo.scheduler.limits import Limits


class Admission:
    """Gives seats and first blocks."""

    def __init__(self, limits: Limits, *, seats: Seats, holdings: Holdings) -> None:
        self._limits = limits
        self._seats = seats
        self._holdings = holdings
        self._refused: tuple[RequestId, Sequence[int], int] | None = None

    def seat(self, request: Request, *, num_tokens: int) -> int | None:
        """Seat one request with room for its whole context; None, and no change, if none is left.

        Where a window sees the end of a context alone, there is room for what the next step
        computes, at most `num_tokens`. Who was refused is not looked at again until more blocks
        are available than there were, or fewer have to be left.
        """
        holdings = self._holdings
        if not self._seats.num_free:
            return None
        spare = self._spare(request)
        if self._refused is not None:
            refused_id, num_available, num_spare = self._refused
            pairs = zip(holdings.num_available, num_available, strict=True)
            has_less = spare >= num_spare and all(now <= then for now, then in pairs)
            if refused_id == request.request_id and has_less:
                return None
        known, is_scored = len(request.context), bool(request.needs & SCORED)
        hit = holdings.nothing()
        if not is_scored:  # whose prompt is to be computed, to be told of
            hit = holdings.find(request.request_id, request.context)
        reach = min(known, hit.num_tokens + num_tokens)
        given = holdings.take(hit, known=known, reach=reach, spare=spare)
        if given is None:
            self._refused = (request.request_id, holdings.num_available, spare)
            return None
        self._refused = None
        holdings.count(hit, num_asked=0 if is_scored else known)
        seat = self._take_seat(request, num_cached=hit.num_tokens)
        holdings.sit(seat, request.request_id, hit, given)
        return seat

    def _spare(self, request: Request) -> int:
        """Count the blocks that are not to be taken: all who run may want one more soon."""
        if not self._seats.num_taken or not self._holdings.groups:
            return 0
        seats, tables = self._seats, self._holdings.main.tables
        is_growing = (seats.end > tables.num_tokens) & (seats.tickets != 0)
        known = len(request.context)
        will_grow = tables.num_blocks_for(self._end(request)) > tables.num_blocks_for(known)
        return max(int(np.count_nonzero(is_growing)) + will_grow, self._limits.num_spare_blocks)

    def _end(self, request: Request) -> int:
        """Give the length at which a request's context is at its limit."""
        allowed = request.params.max_tokens or self._limits.num_context_tokens
        return min(request.num_prompt_tokens + allowed, self._limits.num_context_tokens)

    def _take_seat(self, request: Request, *, num_cached: int) -> int:
        assert request.seed is not None, "a request that waits has a seed"
        seat = self._seats.take(
            request.context,
            computed=num_cached,
            end=self._end(request),
            stop_ids=request.stop_ids,
            words=sampling_words(request.params.temperature, request.seed),
            is_late=request.is_late or self._limits.num_stages > 1,
            needs=request.needs,
            want=self._want(request, request.seed),
        )
        assert seat is not None, "a free seat was seen"
        if len(request.context) == request.num_prompt_tokens:
            request.num_cached_tokens = num_cached
        request.start(seat)
        return seat

    def _want(self, request: Request, seed: int) -> Want | None:
        if not request.needs:
            return None
        return Want(
            params=request.params,
            seed=seed,
            num_prompt_tokens=request.num_prompt_tokens,
            stop_ids=tuple(request.stop_ids),
            vocab_size=self._limits.vocab_size,
        )
