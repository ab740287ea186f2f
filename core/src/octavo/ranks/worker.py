"""A worker: one rank of a model, which launches the steps that notes tell of.

    note ─> Replica ─> Step ─> Batch ─> launch ─> read ─> Result, from the rank that answers

A failure is told to the leader, and then the process ends: other ranks may be waiting in a
collective for what will not come, so nothing can be gone on with.

Knows nothing of requests, nor of which device its program runs on.
"""

from __future__ import annotations

import importlib
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import zmq

from octavo.batch import Batch
from octavo.errors import DeviceError, InternalError
from octavo.heart import GROUP
from octavo.kv.rings import can_share, rings_of
from octavo.kv.seats import Seats
from octavo.kv.tables import Tables
from octavo.ranks.child import end_with_parent
from octavo.ranks.messages import Failure, Order, Ready, Result, Start, Stop, answers, orders
from octavo.ranks.note import StepNote
from octavo.ranks.replica import Replica
from octavo.runner import Runner
from octavo.scheduler import Limits
from octavo_platforms.inputs import Pending
from octavo_platforms.platform import Program
from octavo_platforms.program import StateSpec

CHOICE = "sample"
_WAIT_MS = 1


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of a model a process has: that of `rank`, of so many `ranks`.

    All ranks meet at `rendezvous`, as `DeviceSettings` wants it.
    """

    rank: int
    ranks: int
    rendezvous: str


@dataclass(frozen=True, slots=True)
class Made:
    """A rank's program, and all state groups that it keeps. Who builds it may warm it up."""

    program: Program
    states: Sequence[StateSpec] = ()


Build = Callable[[Share, str], Made]


class Worker:
    """One rank at work: steps in, results out.

    Raises: DeviceError, for a program with blocks that notes do not tell of.
    """

    def __init__(self, start: Start, made: Made) -> None:
        untold = [each.name for each in made.states if each.name != GROUP and _has_blocks(each)]
        if untold:
            raise DeviceError(
                f"Ranks are told of the blocks of '{GROUP}' alone, but the program keeps "
                f"{', '.join(untold)} as well. Run this model on one rank."
            )
        seats, tables = arrays(start.limits)
        batch = Batch(
            seats,
            {GROUP: tables},
            max_step_tokens=start.limits.max_step_tokens,
            rings=rings_of(made.states),
        )
        self._replica = Replica(seats, tables, chooses=CHOICE in made.program.entries)
        self._runner = Runner(made.program, batch)
        self._max_in_flight = start.max_in_flight
        self._in_flight: deque[tuple[int, Pending]] = deque()

    @property
    def has_room(self) -> bool:
        """Tell whether another step can be launched before one is read."""
        return len(self._in_flight) < self._max_in_flight

    @property
    def is_idle(self) -> bool:
        """Tell whether everything was read."""
        return not self._in_flight

    @property
    def is_done(self) -> bool:
        """Tell whether the oldest launch can be read without waiting."""
        return bool(self._in_flight) and self._in_flight[0][1].ready()

    def launch(self, note: StepNote) -> None:
        """Launch the step that a note is of."""
        step = self._replica.step(note)
        self._in_flight.append((step.sequence, self._runner.launch(step)))

    def read(self) -> Result:
        """Wait for the oldest launch and give what it made."""
        sequence, pending = self._in_flight.popleft()
        made = pending.read()
        return Result(sequence, made.tokens, made.num_tokens, made.outputs)


def arrays(limits: Limits) -> tuple[Seats, Tables]:
    """Make seats and tables of the sizes that a scheduler with these limits has."""
    longest = limits.num_context_tokens
    seats = Seats(max_requests=limits.max_requests, max_context_tokens=longest)
    tables = Tables(
        num_seats=limits.max_requests + 1,
        max_context_tokens=longest,
        block_size=limits.block_size,
    )
    return seats, tables


def serve(socket: zmq.Socket[bytes]) -> None:
    """Be what the first message says, until a message says stop.

    Raises: whatever building, launching or reading raises, after telling the leader.
    """
    reads, writes = orders(), answers()
    start = reads.decode(socket.recv_multipart())
    assert isinstance(start, Start), "a leader begins with what the worker is"
    try:
        share = Share(start.rank, start.ranks, start.rendezvous)
        made = builder(start.build)(share, start.arguments)
        worker = Worker(start, made)
        socket.send_multipart(writes.encode(_ready(start, made)))
        while True:
            order = _next(socket, worker)
            if order is None:
                result = worker.read()
                if start.answers:
                    socket.send_multipart(writes.encode(result))
                continue
            message: Order = reads.decode(order)
            if isinstance(message, Stop):
                made.program.close()
                return
            assert isinstance(message, StepNote), "a worker is started once"
            worker.launch(message)
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        socket.send_multipart(writes.encode(Failure(start.rank, words)))
        raise


def _has_blocks(state: StateSpec) -> bool:
    return state.kind != "recurrent"


def _ready(start: Start, made: Made) -> Ready:
    entries = tuple(sorted(made.program.entries))
    rules = made.program.shape_policy.rules
    return Ready(start.rank, entries, can_share(made.states), rules)


def builder(name: str) -> Build:
    """Find a function by its name, `module:function`.

    Raises: InternalError, where there is none.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InternalError(f"no function '{name}' builds a worker's program: {error}") from error
    return cast(Build, found)


def main(endpoint: str) -> None:
    """Serve the leader that connects there, and end with it."""
    end_with_parent()
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.bind(endpoint)
        serve(socket)


def _next(socket: zmq.Socket[bytes], worker: Worker) -> list[bytes] | None:
    """Wait for the next message, or give None where reading a launch comes first.

    What is done is read before more is launched: the launch may take as long as the step does.
    """
    while worker.has_room and not worker.is_done:
        if socket.poll(None if worker.is_idle else _WAIT_MS):
            return socket.recv_multipart()
    return None


if __name__ == "__main__":
    main(sys.argv[1])
