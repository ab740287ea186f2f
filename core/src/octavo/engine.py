"""The engine: the loop over requests. Schedule, launch, commit.

    add --> scheduler.schedule() --> runner.launch() --> read --> scheduler.commit() --> Delta

Plain, overlapped and pipelined are one loop: `max_in_flight` says how many launches may be
unread. With two, a step is scheduled and launched while the one before is still at work, and
the device finds its next step waiting when it is done:

    host      schedule 2 │ read 1, commit, text │ schedule 3 │ read 2, commit, text
    device    ── step 1 ────┤──────────── step 2 ────────────┤───── step 3 ──

Full blocks are named after a launch, where the host would wait anyway.

A pause holds requests back, as closed gates do: then a step waits a moment for the bell, and
nothing else. A drain refuses new requests and lets the others come to their end.

One thread owns an engine; nothing here may be called from two at once.

Knows nothing of text, devices or models.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from octavo.errors import InternalError, LaterError
from octavo.request import Request, RequestId
from octavo.scheduler import Bell, Limits, PauseMode, Scheduler
from octavo.step import Delta, Step
from octavo_platforms.inputs import Pending

HELD_S = 0.01
"""How long a step waits for the bell while requests are held: its caller may have other news."""


@dataclass(frozen=True, slots=True)
class Stats:
    """The engine's books at one moment; look-ups, evictions and preemptions count from its start.

    Units: requests; blocks of all state groups together, and rows of snapshots;
        `prefix_query_tokens` are those of admitted contexts that were looked up, and
        `prefix_hit_tokens` those of them that were not computed, because remembered or shared
        blocks held them; `evictions` are blocks that were forgotten because their room was needed;
        `corrupted` requests ended because no token could be chosen by their logits.
    """

    running: int
    waiting: int
    free_blocks: int
    held_blocks: int
    remembered_blocks: int
    prefix_hit_tokens: int
    preemptions: int
    prefix_query_tokens: int = 0
    evictions: int = 0
    corrupted: int = 0


class Launcher(Protocol):
    """Who starts steps: a runner on a device of this process, or the leader of other ranks."""

    def launch(self, step: Step) -> Pending:
        """Start a step and return at once; reading what it gives waits for the tokens."""
        ...


class Engine:
    """Requests in, deltas out. Whoever opens a gate rings the `bell`, from any thread."""

    def __init__(
        self,
        scheduler: Scheduler,
        runner: Launcher,
        *,
        max_in_flight: int = 1,
        bell: Bell | None = None,
    ) -> None:
        self.bell = Bell() if bell is None else bell
        self.is_draining = False
        self._scheduler = scheduler
        self._runner = runner
        self._max_in_flight = max_in_flight
        self._in_flight: deque[tuple[Step, Pending]] = deque()

    @property
    def limits(self) -> Limits:
        """Give what the model, the memory and the operator allow."""
        return self._scheduler.limits

    @property
    def has_work(self) -> bool:
        """Tell whether some request has not ended, or some launch was not read."""
        scheduler = self._scheduler
        return bool(scheduler.num_running or scheduler.num_waiting or self._in_flight)

    @property
    def is_held(self) -> bool:
        """Tell whether there is work, but when it was last tried only gates or a pause held it."""
        return self.has_work and not self._in_flight and self._scheduler.is_held

    @property
    def stats(self) -> Stats:
        """Give the engine's books as they are now."""
        scheduler, holdings = self._scheduler, self._scheduler.holdings
        pools = holdings.pools
        return Stats(
            running=scheduler.num_running,
            waiting=scheduler.num_waiting,
            free_blocks=sum(pool.num_free for pool in pools),
            held_blocks=sum(pool.num_held for pool in pools),
            remembered_blocks=sum(pool.num_remembered for pool in pools),
            prefix_hit_tokens=holdings.num_hit_tokens,
            preemptions=scheduler.num_preemptions,
            prefix_query_tokens=holdings.num_query_tokens,
            evictions=sum(pool.num_evicted for pool in pools),
            corrupted=scheduler.num_corrupted,
        )

    def add(self, request: Request) -> None:
        """Take a new request; it runs when its turn comes.

        Raises: ClientError, for one that could never run (PromptTooLong), that has a token
            outside the vocabulary, or whose id is in use; LaterError, in a drain.
        """
        if self.is_draining:
            raise LaterError("The engine finishes what it has and takes no new requests now.")
        self._scheduler.add(request)

    def abort(self, request_id: str) -> Request | None:
        """End a request at once; None if there is none of that id, or it has ended already.

        Effects: its seat and blocks are free; no later delta names it.
        """
        return self._scheduler.end(RequestId(request_id), "abort")

    def pause(self, mode: PauseMode = "abort") -> Sequence[Request]:
        """Hold requests back until `resume`; give those whom that ended, with "abort".

        "abort" ends everybody; "wait" lets those who have begun come to their end; "keep" stops
        them where they are, with their seats and blocks. Whoever comes later waits. Another mode
        takes the place of the last; the same again changes nothing.

        Effects: what is in flight has still to be read by steps; see `is_at_rest`.
        """
        self._scheduler.pause.mode = mode
        if mode != "abort":
            return ()
        return [self._ended(request.request_id) for request in self._scheduler.requests()]

    def drain(self) -> None:
        """Refuse new requests until `resume`; those that are here come to their end."""
        self.is_draining = True

    def resume(self) -> None:
        """End a pause, and a drain; harmless without."""
        self._scheduler.pause.mode = None
        self.is_draining = False
        self.bell.ring()

    @property
    def is_paused(self) -> bool:
        """Tell whether there is a pause."""
        return self._scheduler.pause.mode is not None

    @property
    def is_at_rest(self) -> bool:
        """Tell whether nothing is launched or unread until somebody resumes or asks.

        Then weights may change, for instance; a step has to be made until it is so.
        """
        scheduler = self._scheduler
        if self._in_flight or not self.has_work:
            return not self._in_flight
        return scheduler.pause.is_frozen or (self.is_paused and not scheduler.has_begun)

    def reset_prefixes(self, *, also_running: bool = False) -> None:
        """Forget all that is remembered: no later request finds what was computed before now.

        Those who run go on from what they have computed, and none of it is remembered either;
        `also_running` lets them compute their contexts anew, as new weights want it.
        """
        self._scheduler.forget(also_running=also_running)

    def step(self, *, patience_s: float | None = HELD_S) -> Delta:
        """Launch what can be launched, wait for the oldest launch, and say what it changed.

        Without work it does nothing and gives an empty delta. While gates or a pause hold all
        that is left, it waits so long for the bell, None until it rings, and gives an empty delta.

        Raises: whatever the device does; then every request has ended with the reason "error",
            and nothing is held or in flight.
        """
        try:
            return self._advance(patience_s)
        except Exception:
            self._in_flight.clear()
            self._scheduler.fail()
            raise

    def check_integrity(self) -> None:
        """Check that nothing leaked. Cheap, and called whenever the engine falls idle.

        Raises: InternalError, when an idle engine holds a block or a seat.
        """
        held, taken = self.stats.held_blocks, self._scheduler.seats.num_taken
        if not self.has_work and (held or taken):
            raise InternalError(f"no request is left, but {held} blocks and {taken} seats are held")

    def _ended(self, request_id: RequestId) -> Request:
        request = self._scheduler.end(request_id, "abort")
        assert request is not None, "who is walked over has not ended"
        return request

    def _advance(self, patience_s: float | None) -> Delta:
        while len(self._in_flight) < self._max_in_flight:
            step = self._scheduler.schedule()
            if step is None:
                break
            self._in_flight.append((step, self._runner.launch(step)))
            self._scheduler.name_blocks()
        if not self._in_flight:
            if self.has_work and not self._scheduler.is_held:
                raise InternalError("requests are left, but the scheduler finds nothing to compute")
            if self.has_work:
                self.bell.wait(patience_s)
            return Delta(request_ids=(), tokens=np.zeros(0, np.int32), finished={})
        step, pending = self._in_flight.popleft()
        delta = self._scheduler.commit(step, pending.read())
        if not self.has_work:
            self.check_integrity()
        return delta
