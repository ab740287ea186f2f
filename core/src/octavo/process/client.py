"""The asking side's face: an engine somewhere else, for callers on any event loops here.

    event loops:   submit ─▶ Inbox                      Stream.take ◀─┐
                              │                                       │ one call a step
    Talk's thread:            └─▶ socket ─▶   socket ─▶ OutputText ───┘

Does not know HTTP, nor how an engine is started.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Sequence

from octavo.errors import DeviceError, LaterError, UnsupportedParameter
from octavo.outputs import OutputText
from octavo.process.board import Board, Seen
from octavo.process.host import Host
from octavo.process.messages import Control, Facts, StatsTold, Verb
from octavo.process.notes import Close, End, FailOpen, Inbox, Question, Submit
from octavo.process.queue import Load, QueueLimits
from octavo.process.stream import Stream
from octavo.process.talk import Talk
from octavo.scheduler.pausing import PauseMode

SILENT_S = 1.0
"""For how long an engine need not give a sign of life before it counts as not answering."""

_LAST_WORDS_S = 1.0
_RETRY_S = 5.0
_CLOSED = "The engine was closed."


class EngineClient:
    """Asks an engine. `limits` refuse early what it would refuse; `say` hears how it loads."""

    def __init__(
        self,
        host: Host,
        *,
        limits: QueueLimits | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._host = host
        self._limits = QueueLimits() if limits is None else limits
        self._inbox = Inbox()
        self._talk = Talk(host.place, self._inbox, say=say, stops_engine=host.is_own)
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def start(self) -> None:
        """Bring the engine up and begin to talk to it; harmless when repeated."""
        if self._thread is None:
            self._host.start()
            self._board = Board(self._host.place.board)
            self._thread = threading.Thread(
                target=self._talk.run, name="octavo-client", daemon=True
            )
            self._thread.start()

    def wait_ready(self) -> Facts:
        """Wait until the model answers, for as long as it loads, and give what is known of it.

        Raises: OctavoError, saying why it cannot be loaded.
        """
        began = None
        while (facts := self._talk.facts) is None:
            if self._talk.refusal is not None:
                raise self._talk.refusal
            if self._host.failure is not None:
                began = time.monotonic() if began is None else began
                if time.monotonic() - began > _LAST_WORDS_S:
                    raise DeviceError(self._host.failure)
            time.sleep(0.01)
        return facts

    @property
    def failure(self) -> str | None:
        """Say why no request would be answered now; None where one would."""
        if self._is_closed:
            return _CLOSED
        if self._host.failure is not None:
            return self._host.failure
        if self._talk.facts is None:
            return self._talk.down
        silent_s = self._talk.watch.silent_s
        if silent_s > SILENT_S:
            return f"The engine gave no sign of life for {silent_s:.1f} s"
        return None

    @property
    def seen(self) -> Seen:
        """Give what the engine's board says now. The engine must have been started."""
        return self._board.read()

    def check_admission(self, num_requests: int) -> None:
        """Check that so many requests may come now, before they are made.

        Raises: LaterError where the engine does not answer or has enough to do; ClientError for
            more than it ever takes.
        """
        facts = self._talk.facts
        if facts is None or self._is_closed or self._host.failure is not None:
            raise LaterError(f"{self.failure}. Ask again later.", retry_after_s=_RETRY_S)
        seen = self._board.read()
        load = Load(seen.running, seen.waiting, facts.max_requests, seen.ended_per_s)
        self._limits.check(num_requests, seen.waiting_tokens, load)

    def submit(self, outputs: Sequence[OutputText]) -> Stream:
        """Hand requests to the engine together; what it makes of them comes by the stream.

        Raises: LaterError, ClientError, as `check_admission`; UnsupportedParameter for code,
            which does not travel.
        """
        self.check_admission(len(outputs))
        for output in outputs:
            if output.request.params.logits_processors:
                raise UnsupportedParameter(
                    "logits_processors",
                    why="code cannot be sent to the engine; use LLM, which runs in your process",
                )
        numbers = [next(self._numbers) for _ in outputs]
        stream = Stream(outputs, numbers, end=self._end)
        self._inbox.put(Submit(stream))
        return stream

    def fail_open(self, message: str) -> None:
        """Fail all that is open, and end it in the engine."""
        self._inbox.put(FailOpen(LaterError(message)))

    async def control(
        self, verb: Verb, *, mode: PauseMode = "abort", also_running: bool = False
    ) -> StatsTold:
        """Have something done to the engine as a whole, and give its books afterwards.

        What can be done, and when it is done, `Control` says.

        Raises: LaterError where it does not answer; InternalError where it goes meanwhile.
        """
        if self._talk.facts is None or self._is_closed:
            raise LaterError(f"{self.failure}. Ask again later.", retry_after_s=_RETRY_S)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[StatsTold] = loop.create_future()
        control = Control(0, verb, mode, also_running)
        self._inbox.put(Question(control, answer, loop))
        return await answer

    def close(self) -> None:
        """Fail what is open, end the engine where it is ours, and the thread; once and for all."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._thread is not None:
            self._inbox.put(Close())
            self._thread.join()
            self._host.stop()
        self._inbox.close()

    def _end(self, numbers: Sequence[int]) -> None:
        if not self._is_closed:
            self._inbox.put(End(tuple(numbers)))
