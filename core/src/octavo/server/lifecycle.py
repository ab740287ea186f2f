"""The engine thread: one thread owns the engine, everyone else sends it notes.

    event loop:   submit -> inbox                    deliver -> Stream.take -> a route
                            |                          ^
    engine thread:          +-> add, abort -> step ----+   one call into the loop a step

Requests and aborts cross by a thread-safe queue, tokens come back by `call_soon_threadsafe`,
once a step however many requests it served. When the engine raises, every open stream fails,
nothing further is taken, and `failure` says why for as long as the process lives.

Does not know HTTP, text or what a request asks.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from octavo.engine import Engine
from octavo.errors import InternalError, LaterError, OctavoError
from octavo.request import FinishReason, Request, RequestId
from octavo.step import Delta

log = logging.getLogger("octavo.server")

SHUTTING_DOWN = "The server is shutting down. Ask again when it is back."

Made = tuple[int, int, FinishReason | None]
"""Index of the request in its stream, its next token, and how it ended if that was its last."""


@dataclass(frozen=True, slots=True)
class _Add:
    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class _Abort:
    request_id: RequestId


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


class EngineThread:
    """Runs an engine in a thread of its own, for callers on one event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._inbox: queue.SimpleQueue[_Add | _Abort | _Stop] = queue.SimpleQueue()
        self._places: dict[RequestId, tuple[Stream, int]] = {}
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_stopped = False
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Start the thread; tokens come to the event loop that runs now."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="octavo-engine", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End the thread after its step, and fail what is still open; harmless when repeated."""
        self._is_stopped = True
        self._inbox.put(_Stop())
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        self._fail_all(LaterError(SHUTTING_DOWN))

    @property
    def num_open(self) -> int:
        """Give the number of requests whose end was not seen yet."""
        return len(self._places)

    def submit(self, requests: Sequence[Request]) -> Stream:
        """Hand requests to the engine together; what it makes of them comes by the stream.

        Raises: LaterError once the engine has failed, or was stopped.
        """
        if self._is_stopped:
            raise LaterError(SHUTTING_DOWN)
        if self.failure is not None:
            raise LaterError("The engine has failed; see /health. The server must be restarted.")
        stream = Stream(self, requests)
        for index, request in enumerate(requests):
            self._places[request.request_id] = (stream, index)
        self._inbox.put(_Add(tuple(requests)))
        return stream

    def abort(self, request_id: RequestId) -> None:
        """End a request whose output nobody wants any more; harmless where it ended already."""
        if self._places.pop(request_id, None) is not None:
            self._inbox.put(_Abort(request_id))

    def _run(self) -> None:
        assert self._loop is not None
        try:
            while self._obey():
                delta = self._engine.step()
                if len(delta.request_ids):
                    self._loop.call_soon_threadsafe(self._deliver, delta)
        except BaseException as failure:
            log.critical("the engine failed", exc_info=failure)
            self._loop.call_soon_threadsafe(self._break, failure)

    def _obey(self) -> bool:
        """Follow the notes that lie here, waiting for one while there is nothing to do."""
        while True:
            try:
                note = self._inbox.get(block=not self._engine.has_work)
            except queue.Empty:
                return True
            if isinstance(note, _Stop):
                return False
            if isinstance(note, _Abort):
                self._engine.abort(note.request_id)
            else:
                for request in note.requests:
                    self._add(request)

    def _add(self, request: Request) -> None:
        assert self._loop is not None
        try:
            self._engine.add(request)
        except OctavoError as refusal:
            self._loop.call_soon_threadsafe(self._refuse, request.request_id, refusal)

    def _deliver(self, delta: Delta) -> None:
        finished = delta.finished
        for request_id, token in zip(delta.request_ids, delta.tokens.tolist(), strict=True):
            place = self._places.get(request_id)
            if place is None:
                continue
            ended = finished.get(request_id)
            if ended is not None:
                del self._places[request_id]
            stream, index = place
            stream.put((index, token, ended))

    def _refuse(self, request_id: RequestId, refusal: OctavoError) -> None:
        place = self._places.pop(request_id, None)
        if place is not None:
            place[0].fail(refusal)

    def _break(self, failure: BaseException) -> None:
        self.failure = failure
        self._fail_all(InternalError(f"The engine failed: {describe(failure)}"))

    def _fail_all(self, failure: OctavoError) -> None:
        places, self._places = self._places, {}
        for stream, _ in places.values():
            stream.fail(failure)


class Stream:
    """What the engine makes of some requests, in the order in which it makes it."""

    def __init__(self, engine: EngineThread, requests: Sequence[Request]) -> None:
        self._engine = engine
        self._requests = requests
        self._made: list[Made] = []
        self._news = asyncio.Event()
        self._failure: OctavoError | None = None

    async def ready(self) -> None:
        """Wait until there is something to take.

        Raises: what refused a request or broke the engine, where nothing is left to take.
        """
        await self._news.wait()
        if self._failure is not None and not self._made:
            raise self._failure

    async def take(self) -> list[Made]:
        """Wait for tokens and give all that came since the last time, at least one.

        Raises: what refused a request or broke the engine, where nothing is left to take.
        """
        await self.ready()
        made, self._made = self._made, []
        if self._failure is None:
            self._news.clear()
        return made

    def abort(self, index: int) -> None:
        """End one of the requests."""
        self._engine.abort(self._requests[index].request_id)

    def close(self) -> None:
        """End those of the requests that have not ended."""
        for request in self._requests:
            self._engine.abort(request.request_id)

    def put(self, made: Made) -> None:
        """Add a token."""
        self._made.append(made)
        self._news.set()

    def fail(self, failure: OctavoError) -> None:
        """Let everyone who waits, now or later, see a failure."""
        self._failure = failure
        self._news.set()


def describe(failure: BaseException) -> str:
    """Name a failure in one line, without its traceback."""
    lines = str(failure).splitlines()
    return f"{type(failure).__name__}: {lines[0]}" if lines else type(failure).__name__
