"""The loop around an engine: messages in, steps, messages out.

    Desk ─▶ Queue ─▶ Engine.add ─▶ Engine.step ─▶ Made, to whoever asked
      └── while there is work: what lies there; else: until something comes, or the bell rings

One thread runs all of it. Clients name their requests by numbers of their own; here a request
gets a name that holds its client's, so that clients cannot meet. A client that is gone is found
when it is sent something, and all its requests end; who is sent nothing for long, because all its
requests wait, is sent a message that says nothing.

Does not know models, text, or in which process it runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import chain

import numpy as np

from octavo.engine import Engine
from octavo.errors import InternalError, LaterError, OctavoError, UnsupportedParameter
from octavo.process.board import Board
from octavo.process.desk import Client, Desk
from octavo.process.ledger import Asked, Ledger, no_rows
from octavo.process.messages import (
    REASONS,
    Abort,
    Add,
    Ask,
    Control,
    Failed,
    FromClient,
    Made,
    Refused,
    StatsTold,
    Stop,
    describe,
    fault_of,
)
from octavo.process.queue import Load, Queue, QueueLimits
from octavo.process.rate import Rate
from octavo.request import FinishReason, Request, RequestId
from octavo.scheduler.pausing import PauseMode
from octavo.step import Delta, Scored
from octavo_platforms.inputs import Ints

_LINGER_S = 2.0
PROBE_S = 0.5
_NO_PRIORITIES = "who came first is first here; start with --scheduling-policy priority"


class EngineService:
    """Serves an engine to the clients of a desk.

    Units: every `probe_s` it looks for clients that went, and for gates whose bell did not ring.
    """

    def __init__(
        self,
        engine: Engine,
        desk: Desk,
        board: Board,
        *,
        limits: QueueLimits,
        eos_ids: Sequence[int],
        probe_s: float = PROBE_S,
    ) -> None:
        self._engine = engine
        self._desk = desk
        self._board = board
        self._eos_ids = tuple(eos_ids)
        self._queue = Queue(limits)
        self._ledger = Ledger()
        self._controls: list[tuple[Client, Control]] = []
        self._is_draining = False
        self._is_stopped = False
        self._ended = Rate(time.monotonic())
        self._probed_at = time.monotonic()
        self._probe_s = probe_s
        engine.bell.wakes(desk.wake)

    def run(self) -> None:
        """Serve until told to stop.

        Raises: what the engine raises in a step, after everybody was told.
        """
        try:
            while not self._is_stopped:
                self._obey()
                self._feed()
                self._probe()
                if self._engine.has_work:
                    self._write_board()
                    self._deliver(self._engine.step(patience_s=0.0))
        except Exception as failure:
            self._desk.announce(Failed(describe(failure)), is_last=True)
            raise
        finally:
            self._desk.close(linger_s=_LINGER_S)

    @property
    def _is_busy(self) -> bool:
        return self._engine.has_work or len(self._queue) > 0

    def _write_board(self) -> None:
        stats = self._engine.stats
        self._board.write(
            is_ready=True,
            is_busy=self._is_busy and not self._engine.is_held,
            running=stats.running,
            waiting=stats.waiting + len(self._queue),
            waiting_tokens=self._queue.num_tokens,
            ended_per_s=self._ended.per_s(time.monotonic()),
        )

    def _obey(self) -> None:
        """Follow the messages that lie here, waiting for one while there is nothing to do.

        While all that is left is held, a message, the bell or the time for a probe ends the wait.
        """
        held_s = self._probe_s if self._engine.is_held else 0.0
        while not self._is_stopped:
            self._answer_controls()
            wait_s = held_s if self._is_busy else None
            if wait_s != 0.0:
                self._write_board()
            received = self._desk.receive(wait_s=wait_s)
            if received is None:
                return
            held_s = 0.0
            self._follow(*received)

    def _follow(self, client: Client, message: FromClient) -> None:
        if isinstance(message, Add):
            self._add(client, message.asks)
        elif isinstance(message, Abort):
            for number in message.numbers:
                self._end(_name(client, number))
        elif isinstance(message, Control):
            self._control(client, message)
        elif isinstance(message, Stop):
            self._is_stopped = True

    def _control(self, client: Client, control: Control) -> None:
        engine = self._engine
        if control.verb == "pause":
            self._pause(control.mode)
        elif control.verb == "resume":
            engine.resume()
            self._is_draining = False
        elif control.verb == "drain":
            self._is_draining = True
        elif control.verb == "reset":
            engine.reset_prefixes(also_running=control.also_running)
        self._controls.append((client, control))

    def _pause(self, mode: PauseMode) -> None:
        """Pause; where that ends everybody, it ends those too who have not reached the engine."""
        self._engine.pause(mode)
        if mode != "abort":
            return
        ended: dict[Client, list[int]] = {}
        for asked in self._ledger.all():
            ended.setdefault(asked.client, []).append(asked.number)
            self._end(asked.request.request_id)
        for client, numbers in ended.items():
            self._tell(client, _made_nothing(numbers, "abort"))

    def _answer_controls(self) -> None:
        """Answer what is done by now."""
        left = []
        for client, control in self._controls:
            is_done = {"pause": self._engine.is_at_rest, "drain": not self._is_busy}
            if is_done.get(control.verb, True):
                told = StatsTold(control.ticket, self._engine.stats, len(self._queue))
                self._tell(client, told)
            else:
                left.append((client, control))
        self._controls = left

    def _add(self, client: Client, asks: Sequence[Ask]) -> None:
        try:
            if self._is_draining:
                raise LaterError("The engine finishes what it has, and takes nothing new now.")
            group = self._group(client, asks)
            stats = self._engine.stats
            seats = self._engine.limits.max_requests
            ended_per_s = self._ended.per_s(time.monotonic())
            self._queue.put(group, Load(stats.running, stats.waiting, seats, ended_per_s))
        except OctavoError as refusal:
            numbers = tuple(ask.number for ask in asks)
            self._tell(client, Refused(numbers, fault_of(refusal)))
            return
        for ask, request in zip(asks, group, strict=True):
            self._ledger.add(Asked(client, ask.number, request))

    def _group(self, client: Client, asks: Sequence[Ask]) -> list[Request]:
        """Make the requests of one call, or refuse them all."""
        group = []
        prompt: Ints | None = None
        for ask in asks:
            if ask.priority and self._engine.limits.policy != "priority":
                raise UnsupportedParameter("priority", why=_NO_PRIORITIES)
            prompt = prompt if ask.prompt_ids is None else ask.prompt_ids
            if prompt is None:
                raise InternalError("a group begins with the prompt of the request before it")
            request = Request(
                _name(client, ask.number),
                prompt,
                ask.params,
                eos_ids=self._eos_ids,
                cache_salt=ask.cache_keys.salt,
                adapter=ask.cache_keys.adapter,
                media=ask.cache_keys.media,
                priority=ask.priority,
            )
            self._engine.limits.check(request.prompt_ids)
            group.append(request)
        return group

    def _feed(self) -> None:
        """Hand the engine as many requests as it has free seats for.

        An engine that goes by priorities must see all who wait: it gets them at once.
        """
        limits = self._engine.limits
        while len(self._queue):
            stats = self._engine.stats
            is_full = stats.running + stats.waiting >= limits.max_requests
            if is_full and limits.policy == "fcfs":
                return
            request = self._queue.take()
            if request is None:
                return
            try:
                self._engine.add(request)
            except OctavoError as refusal:
                asked = self._forget(request.request_id)
                assert asked is not None, "who was in the queue has not ended"
                self._tell(asked.client, Refused((asked.number,), fault_of(refusal)))

    def _end(self, request_id: RequestId) -> None:
        if self._forget(request_id) is not None and not self._queue.remove(request_id):
            self._engine.abort(request_id)

    def _forget(self, request_id: RequestId) -> Asked | None:
        """Let go of who ends, and of those who wait for it to begin; None if it had ended."""
        self._queue.release(request_id)
        return self._ledger.strike(request_id)

    def _tell(self, client: Client, message: Refused | StatsTold | Made) -> None:
        if not self._desk.tell(client, message):
            for asked in self._ledger.all():
                if asked.client == client:
                    self._end(asked.request.request_id)

    def _probe(self) -> None:
        """Find clients that went while all their requests wait."""
        now = time.monotonic()
        if now - self._probed_at < self._probe_s:
            return
        self._probed_at = now
        for client in {asked.client for asked in self._ledger.all()}:
            self._tell(client, _made_nothing((), "abort"))

    def _deliver(self, delta: Delta) -> None:
        shares, began = self._ledger.shares_of(delta.request_ids)
        for each in chain.from_iterable(began.values()):
            self._queue.release(each.request.request_id)
        ended: dict[Client, list[tuple[int, int]]] = {}
        scored: dict[Client, list[tuple[int, Scored]]] = {}
        for request_id, told in delta.scored.items():
            asked = self._ledger.find(request_id)
            if asked is not None:
                scored.setdefault(asked.client, []).append((asked.number, told))
        self._ended.count(len(delta.finished), time.monotonic())
        for request_id, reason in delta.finished.items():
            asked = self._forget(request_id)
            if asked is not None:
                ended.setdefault(asked.client, []).append((asked.number, REASONS.index(reason)))
        if scored or ended:
            seen = {share.client for share in shares}
            others = (scored.keys() | ended.keys()) - seen
            shares = [*shares, *(no_rows(client) for client in others)]
        for share in shares:
            first, last = began.get(share.client, []), ended.get(share.client, [])
            made = Made(
                numbers=share.numbers,
                tokens=delta.tokens[share.rows],
                ended=np.array([number for number, _ in last], np.int64),
                reasons=np.array([reason for _, reason in last], np.int8),
                began=np.array([each.number for each in first], np.int64),
                cached=_cached(first),
                logprobs=None if delta.logprobs is None else delta.logprobs[share.rows],
                scored=tuple(scored.get(share.client, ())),
            )
            self._tell(share.client, made)


def _made_nothing(numbers: Sequence[int], reason: FinishReason) -> Made:
    """Say that requests ended without a token more."""
    nobody = np.zeros(0, np.int64)
    return Made(
        numbers=nobody,
        tokens=np.zeros(0, np.int32),
        ended=np.array(numbers, np.int64),
        reasons=np.full(len(numbers), REASONS.index(reason), np.int8),
        began=nobody,
        cached=np.zeros(0, np.int32),
        logprobs=None,
        scored=(),
    )


def _name(client: Client, number: int) -> RequestId:
    return RequestId(f"{client.index}-{number}")


def _cached(asked: Sequence[Asked]) -> Ints:
    return np.array([each.request.num_cached_tokens for each in asked], np.int32)
