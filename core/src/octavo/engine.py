"""The engine: the loop over requests. Schedule, launch, commit.

    add --> scheduler.schedule() --> runner.launch() --> read --> scheduler.commit() --> Delta

Plain, overlapped and pipelined are one loop: `max_in_flight` says how many launches may be
unread. One thread owns an engine; nothing here may be called from two at once.

Knows nothing of text, devices or models.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from octavo.errors import InternalError
from octavo.request import FinishReason, Request, RequestId
from octavo.runner import Runner
from octavo.scheduler import Scheduler
from octavo.step import Delta, Step
from octavo_platforms.inputs import Pending


@dataclass(frozen=True, slots=True)
class Stats:
    """The engine's books at one moment; hits and preemptions count from its start.

    Units: requests; blocks; `prefix_hit_tokens` are those of admitted contexts that were not
        computed, because remembered or shared blocks held them.
    """

    running: int
    waiting: int
    free_blocks: int
    held_blocks: int
    remembered_blocks: int
    prefix_hit_tokens: int
    preemptions: int


class Engine:
    """Requests in, deltas out."""

    def __init__(self, scheduler: Scheduler, runner: Runner, *, max_in_flight: int = 1) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._max_in_flight = max_in_flight
        self._in_flight: deque[tuple[Step, Pending]] = deque()

    @property
    def has_work(self) -> bool:
        """Tell whether some request has not ended, or some launch was not read."""
        scheduler = self._scheduler
        return bool(scheduler.num_running or scheduler.num_waiting or self._in_flight)

    @property
    def stats(self) -> Stats:
        """Give the engine's books as they are now."""
        scheduler, pool = self._scheduler, self._scheduler.pool
        return Stats(
            running=scheduler.num_running,
            waiting=scheduler.num_waiting,
            free_blocks=pool.num_free,
            held_blocks=pool.num_held,
            remembered_blocks=pool.num_remembered,
            prefix_hit_tokens=scheduler.num_prefix_hit_tokens,
            preemptions=scheduler.num_preemptions,
        )

    def add(self, request: Request) -> None:
        """Take a new request; it runs when its turn comes.

        Raises: ClientError, for one that could never run (PromptTooLong), that has a token
            outside the vocabulary, or whose id is in use.
        """
        self._scheduler.add(request)

    def abort(self, request_id: str) -> Request | None:
        """End a request at once; None if there is none of that id, or it has ended already.

        Effects: its seat and blocks are free; no later delta names it.
        """
        return self._end(RequestId(request_id), "abort")

    def step(self) -> Delta:
        """Launch what can be launched, wait for the oldest launch, and say what it changed.

        Without work it does nothing and gives an empty delta.

        Raises: whatever the device does; then every request has ended with the reason "error",
            and nothing is held or in flight.
        """
        try:
            return self._advance()
        except Exception:
            self._in_flight.clear()
            for request in self._scheduler.requests():
                self._end(request.request_id, "error")
            raise

    def check_integrity(self) -> None:
        """Check that nothing leaked. Cheap, and called whenever the engine falls idle.

        Raises: InternalError, when an idle engine holds a block or a seat.
        """
        held, taken = self._scheduler.pool.num_held, self._scheduler.seats.num_taken
        if not self.has_work and (held or taken):
            raise InternalError(f"no request is left, but {held} blocks and {taken} seats are held")

    def _advance(self) -> Delta:
        while len(self._in_flight) < self._max_in_flight:
            step = self._scheduler.schedule()
            if step is None:
                break
            self._in_flight.append((step, self._runner.launch(step)))
        if not self._in_flight:
            if self.has_work:
                raise InternalError("requests are left, but the scheduler finds nothing to compute")
            return Delta(request_ids=(), tokens=np.zeros(0, np.int32), finished={})
        step, pending = self._in_flight.popleft()
        delta = self._scheduler.commit(step, pending.read())
        if not self.has_work:
            self.check_integrity()
        return delta

    def _end(self, request_id: RequestId, reason: FinishReason) -> Request | None:
        return self._scheduler.end(request_id, reason)
