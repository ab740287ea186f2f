"""Who waits before the engine: a bounded queue that serves groups in turn.

    group A  a1 a2 a3 a4 ...          order: a1 b1 a2 a3 ...
    group B     b1

A group is what one call asked for. The engine's own queue is kept no longer than its free seats,
so a call with thousands of requests delays another by one of them, not by all. Of requests in a
row that share a prompt, the others wait for the first to begin: then they find its blocks
remembered, and the prompt is computed once. What would wait beyond the limits is refused at once:
an overload is told to its clients, not stored.

Does not know the engine, nor who asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from octavo.errors import ClientError, LaterError
from octavo.request import Request, RequestId

SOONEST_S, LATEST_S = 1.0, 60.0
"""Between which a client is told to come again; the soonest where nobody knows."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much an engine has to do: requests that run, those that wait, and how many may run.

    Units: `ended_per_s` requests come to an end in a second, 0 where nobody knows.
    """

    num_running: int
    num_waiting: int
    num_seats: int
    ended_per_s: float = 0.0

    def retry_after_s(self, num_ahead: int) -> float:
        """Guess how long it takes until so many requests have come to their end."""
        if not self.ended_per_s:
            return SOONEST_S
        return min(max(num_ahead / self.ended_per_s, SOONEST_S), LATEST_S)


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait; None is no limit.

    Units: requests; tokens of their prompts.
    """

    max_requests: int | None = None
    max_tokens: int | None = None

    def check(self, num_new: int, waiting_tokens: int, load: Load) -> None:
        """Check that so many requests may come now, before anybody counts their tokens.

        Raises: LaterError where they may not; ClientError where they never may.
        """
        most = self.max_requests
        if most is not None:
            if num_new - load.num_seats > most:
                raise ClientError(
                    f"The call asks for {num_new} outputs, but {load.num_seats} may run and {most} "
                    "may wait here. Ask for fewer in one call.",
                    param="n",
                )
            too_many = load.num_waiting + num_new - (load.num_seats - load.num_running) - most
            if too_many > 0:
                why = f"{load.num_waiting} requests wait, and {most} may"
                raise overloaded(why, load.retry_after_s(too_many))
        if self.max_tokens is not None and waiting_tokens >= max(self.max_tokens, 1):
            raise self.too_many_tokens(waiting_tokens, 1, load)

    def too_many_tokens(self, waiting_tokens: int, new_tokens: int, load: Load) -> LaterError:
        """Make the error for more tokens than may wait; the time is by the mean of those who do."""
        most = self.max_tokens or 0
        share = min((waiting_tokens + new_tokens - most) / max(waiting_tokens, 1), 1.0)
        why = f"{waiting_tokens} prompt tokens wait, {new_tokens} came, and {most} may"
        return overloaded(why, load.retry_after_s(ceil(share * load.num_waiting)))


def overloaded(why: str, retry_after_s: float) -> LaterError:
    """Make the error that tells a client when to come again."""
    return LaterError(
        f"The server has more work than it may queue: {why}. Ask again later.",
        retry_after_s=retry_after_s,
    )


class Queue:
    """The requests that have not reached the engine."""

    def __init__(self, limits: QueueLimits) -> None:
        self.num_tokens = 0
        self._limits = limits
        self._groups: deque[deque[Request]] = deque()
        self._group_of: dict[RequestId, deque[Request]] = {}
        self._forks_of: dict[RequestId, list[RequestId]] = {}
        self._held: set[RequestId] = set()

    def __len__(self) -> int:
        return len(self._group_of)

    def put(self, group: Sequence[Request], load: Load) -> None:
        """Take a group at the end, or refuse it whole; `load` is that of the engine alone.

        Raises: LaterError, ClientError; then nothing has changed.
        """
        tokens = self.num_tokens
        whole = replace(load, num_waiting=load.num_waiting + len(self))
        self._limits.check(len(group), tokens, whole)
        new_tokens = sum(request.num_prompt_tokens for request in group)
        most = self._limits.max_tokens
        if most is not None and tokens and tokens + new_tokens > most:
            raise self._limits.too_many_tokens(tokens, new_tokens, whole)
        line = deque(group)
        self._groups.append(line)
        self.num_tokens += new_tokens
        for request in group:
            self._group_of[request.request_id] = line
        self._hold_forks(group)

    def take(self) -> Request | None:
        """Give the next request, None if nobody may go; its group's next turn comes last."""
        for _ in range(len(self._groups)):
            line = self._groups.popleft()
            if line[0].request_id in self._held:
                self._groups.append(line)
                continue
            request = line.popleft()
            if line:
                self._groups.append(line)
            self._left(request)
            return request
        return None

    def remove(self, request_id: RequestId) -> bool:
        """Let a request go that nobody wants any more; say whether it stood here."""
        line = self._group_of.get(request_id)
        if line is None:
            return False
        request = next(each for each in line if each.request_id == request_id)
        line.remove(request)
        if not line:
            self._groups.remove(line)
        self._left(request)
        self.release(request_id)
        return True

    def release(self, first: RequestId) -> None:
        """Let those go on that share the prompt of a request which has begun, or has ended."""
        self._held.difference_update(self._forks_of.pop(first, ()))

    def _hold_forks(self, group: Sequence[Request]) -> None:
        first = group[0]
        for request in group[1:]:
            if np.array_equal(request.prompt_ids, first.prompt_ids):
                self._forks_of.setdefault(first.request_id, []).append(request.request_id)
                self._held.add(request.request_id)
            else:
                first = request

    def _left(self, request: Request) -> None:
        self._held.discard(request.request_id)
        del self._group_of[request.request_id]
        self.num_tokens -= request.num_prompt_tokens
