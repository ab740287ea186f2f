"""The leader: one scheduler's steps, launched on every rank by worker processes.

Its `engine` is like any other: it stands where a runner stands, and `launch` takes a step. Every
worker hears every note; one of them, which has the tokens, answers.

                 ┌─> worker 0 ──Result──┐
    Step ─> note ┤                      ├─> read
                 └─> worker 1           ┘

A worker that fails or ends breaks the leader: all workers are ended, and this and every later
call raises what happened. Knows nothing of requests, nor of what the ranks share.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

import zmq

from octavo.engine import Engine
from octavo.errors import DeviceError, InternalError, OperatorError
from octavo.ranks.child import Child
from octavo.ranks.messages import Failure, Order, Ready, Result, Start, Stop, answers, orders
from octavo.ranks.note import Scribe
from octavo.sampling.needs import offers_of
from octavo.scheduler import Limits, Scheduler
from octavo.scheduler.limits import joined
from octavo.step import Step
from octavo_platforms.inputs import DeviceRef, Pending, StepResult

_WORKER = "octavo.ranks.worker"
_KILL_S = 0.0
_LAST_WORDS_MS = 100
_RECONNECT_MS = 20
_MAX_FOLDER_BYTES = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Who works: one worker for each of `arguments`, which are the ranks' own, in order.

    `build` names the function that makes a rank's program (`worker.Build`); `answering` is the
    rank whose results are read. Units: `start_s` is how long all ranks may be silent while they
    start, `patience_s` while a result is waited for; `grace_s` is how long they may take to end.
    """

    build: str
    arguments: Sequence[str]
    answering: int = 0
    max_in_flight: int = 1
    start_s: float = 3600.0
    patience_s: float = 300.0
    grace_s: float = 10.0


class Leader:
    """Starts a crew, and launches the steps of one scheduler, which it makes, on all of its ranks.

    What is chosen on the host needs logits there, and code of a client's own does not travel: an
    engine that leads refuses both.

    Raises: DeviceError, where a worker does not start; OperatorError, for limits without blocks.
    """

    def __init__(self, limits: Limits, crew: Crew, *, seed: int = 0) -> None:
        if limits.num_blocks is None:
            raise OperatorError(
                "Ranks are told which blocks their requests have, and this model keeps nothing in "
                "blocks. Run it on one rank."
            )
        self._crew = crew
        self._orders, self._answers = orders(), answers()
        self._ready: dict[int, Ready] = {}
        self._results: dict[int, StepResult] = {}
        self._broken: str | None = None
        self._folder = _private_folder()
        self._context = zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []
        self._children: list[Child] = []
        self._poller = zmq.Poller()
        try:
            for rank, arguments in enumerate(crew.arguments):
                self._start(rank, arguments, limits)
            while len(self._ready) < len(self._sockets):
                self._hear(crew.start_s)
        except BaseException:
            self.close()
            raise
        self._scheduler = self._made_scheduler(limits, seed)
        self._scribe = Scribe(self._scheduler.seats, self._scheduler.holdings.main.tables)

    def __enter__(self) -> Leader:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Give the workers' process ids, by rank."""
        return tuple(child.pid for child in self._children)

    def engine(self) -> Engine:
        """Give the loop around it."""
        return Engine(self._scheduler, self, max_in_flight=self._crew.max_in_flight)

    def launch(self, step: Step) -> Pending:
        """Tell all ranks of a step and return at once.

        Raises: DeviceError, where a worker has failed or ended.
        """
        self._check()
        self._tell(self._scribe.note(step))
        return _Answer(self, step.sequence)

    def result(self, sequence: int) -> StepResult:
        """Wait for a step's result.

        Raises: DeviceError, where a worker has failed or ended, or all are silent for too long.
        """
        while sequence not in self._results:
            self._check()
            self._hear(self._crew.patience_s)
        return self._results.pop(sequence)

    def has_result(self, sequence: int) -> bool:
        """Tell whether a step's result has arrived."""
        while sequence not in self._results:
            self._check()
            if not self._poller.poll(0):
                return False
            self._hear(self._crew.patience_s)
        return True

    def close(self) -> None:
        """End all workers. Closing twice does nothing."""
        if self._broken is None:
            self._broken = "it was closed"
            self._tell(Stop())
        self._end(self._crew.grace_s)

    def _made_scheduler(self, limits: Limits, seed: int) -> Scheduler:
        entries = self._ready[self._crew.answering].entries
        offers = replace(offers_of(entries, max_logprobs=limits.max_logprobs), hosts=False)
        shares = limits.prefix_caching and all(
            each.shares_prefixes for each in self._ready.values()
        )
        rules = limits.rules
        for each in self._ready.values():
            rules = joined(rules, each.rules)
        allowed = replace(limits, prefix_caching=shares, rules=rules)
        return Scheduler(allowed, seed=seed, offers=offers)

    def _start(self, rank: int, arguments: str, limits: Limits) -> None:
        endpoint = f"ipc://{self._folder}/{rank}"
        # Who connects can always send: what was sent to a worker that is not there yet waits for
        # it, and one that has ended says so by its tether.
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.reconnect_ivl = _RECONNECT_MS
        socket.connect(endpoint)
        self._sockets.append(socket)
        child = Child(_WORKER, [endpoint])
        self._children.append(child)
        self._poller.register(socket, zmq.POLLIN)
        self._poller.register(child.tether.fileno(), zmq.POLLIN)
        crew = self._crew
        start = Start(
            rank=rank,
            ranks=len(crew.arguments),
            rendezvous=f"file://{self._folder}/meeting",
            build=crew.build,
            arguments=arguments,
            limits=limits,
            answers=rank == crew.answering,
            max_in_flight=crew.max_in_flight,
        )
        socket.send_multipart(self._orders.encode(start))

    def _tell(self, order: Order) -> None:
        frames = self._orders.encode(order)
        for socket in self._sockets:
            socket.send_multipart(frames)

    def _hear(self, patience_s: float) -> None:
        """Wait until some worker says something, or ends."""
        found = dict(self._poller.poll(int(patience_s * 1000)))
        if not found:
            self._break(f"no rank said anything for {patience_s:g} s")
        heard = [
            self._answers.decode(socket.recv_multipart())
            for socket in self._sockets
            if socket in found
        ]
        for answer in heard:
            if isinstance(answer, Result):
                self._results[answer.sequence] = StepResult(
                    answer.tokens, answer.num_tokens, answer.outputs
                )
            elif isinstance(answer, Ready):
                self._ready[answer.rank] = answer
        failures = [answer for answer in heard if isinstance(answer, Failure)]
        if failures or any(child.tether.fileno() in found for child in self._children):
            self._break(self._last_words(failures))

    def _last_words(self, failures: list[Failure]) -> str:
        """Say what happened to each rank that is lost: one rank's end is the others' error."""
        for socket in self._sockets:
            while socket.poll(_LAST_WORDS_MS):
                answer = self._answers.decode(socket.recv_multipart())
                if isinstance(answer, Failure):
                    failures.append(answer)
        told = {
            failure.rank: f"rank {failure.rank} failed: {failure.words}" for failure in failures
        }
        cut = dict(self._poller.poll(0))
        ended = [
            f"the process of rank {rank} {child.epitaph()}"
            for rank, child in enumerate(self._children)
            if rank not in told and child.tether.fileno() in cut
        ]
        return "; ".join([*ended, *(told[rank] for rank in sorted(told))])

    def _check(self) -> None:
        if self._broken is not None:
            raise DeviceError(f"The ranks cannot go on: {self._broken}. Start the model again.")

    def _break(self, why: str) -> NoReturn:
        self._broken = why
        self._end(_KILL_S)
        self._check()
        raise InternalError("a broken leader raises")

    def _end(self, grace_s: float) -> None:
        """End the workers, then free what led to them."""
        for child in self._children:
            child.end(grace_s=grace_s)
        for socket in self._sockets:
            socket.close()
        self._context.term()
        shutil.rmtree(self._folder, ignore_errors=True)


def _private_folder() -> str:
    """Make a folder for sockets that only this user can enter.

    Raises: OperatorError, where its name is longer than a socket's may be.
    """
    folder = tempfile.mkdtemp(prefix="octavo-")
    if len(folder.encode()) > _MAX_FOLDER_BYTES:
        shutil.rmtree(folder, ignore_errors=True)
        raise OperatorError(
            f"The folder for temporary files has a name of {len(folder.encode())} bytes, {folder}, "
            f"but sockets in it may have {_MAX_FOLDER_BYTES}. Set TMPDIR to a shorter one."
        )
    return folder


@dataclass(frozen=True, slots=True)
class _Answer:
    """A launch on all ranks whose result was not read yet."""

    leader: Leader
    sequence: int

    def ref(self, output: str) -> DeviceRef:
        """Refuse: outputs stay with the ranks.

        Raises: InternalError, always.
        """
        raise InternalError(
            f"the output '{output}' stays with the ranks; nothing here refers to it"
        )

    def ready(self) -> bool:
        """Tell whether the result has arrived."""
        return self.leader.has_result(self.sequence)

    def read(self) -> StepResult:
        """Wait for the result."""
        return self.leader.result(self.sequence)
