"""What the engine makes of some requests, as it reaches one event loop.

The client's thread makes text and posts it; the loop's side takes it. A post is one call into
the loop, however many streams of it have news.

Does not know messages, sockets or the engine.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVarTuple

from octavo.errors import OctavoError
from octavo.outputs import OutputText

Arguments = TypeVarTuple("Arguments")


@dataclass(frozen=True, slots=True)
class Piece:
    """Of one output of a stream, the text that became sure, and whether that was its last.

    Units: `num_tokens` are those that came with it; one that somebody else ended gets none.
    """

    index: int
    text: str
    is_last: bool
    num_tokens: int = 1


class Stream:
    """Some outputs while they grow, for one coroutine of the loop that runs now.

    `end` is called with the numbers of requests whose output is not wanted any more. The
    outputs are written by the client's thread; who wants to see several of their fields as they
    belong together holds the `lock` meanwhile.
    """

    def __init__(
        self,
        outputs: Sequence[OutputText],
        numbers: Sequence[int],
        *,
        end: Callable[[Sequence[int]], None],
    ) -> None:
        self.outputs = outputs
        self.numbers = numbers
        self.loop = asyncio.get_running_loop()
        self.lock = threading.Lock()
        self._end = end
        self._pieces: list[Piece] = []
        self._num_open = len(outputs)
        self._news = asyncio.Event()
        self._failure: OctavoError | None = None

    async def ready(self) -> None:
        """Wait until there is something to take.

        Raises: what refused a request or broke the engine, where nothing is left to take.
        """
        if self.is_open:
            await self._news.wait()
        if self._failure is not None and not self._pieces:
            raise self._failure

    async def take(self) -> list[Piece]:
        """Wait for text and give all that came since the last time; nothing is left after the last.

        Raises: what refused a request or broke the engine, where nothing is left to take.
        """
        await self.ready()
        pieces, self._pieces = self._pieces, []
        if self._failure is None:
            self._news.clear()
        return pieces

    @property
    def is_open(self) -> bool:
        """Tell whether there is more to take: pieces, now or later, or a failure."""
        return bool(self._num_open or self._pieces) or self._failure is not None

    def close(self) -> None:
        """End what has not ended; harmless at any time."""
        if self._num_open:
            self._end(self.numbers)

    def abort(self) -> None:
        """End what has not ended, with the reason "abort"; whoever waits is woken."""
        self.close()
        with self.lock:
            for output in self.outputs:
                if output.finish_reason is None:
                    output.finish_reason = "abort"
        self._num_open = 0
        self._news.set()

    def put(self, pieces: Sequence[Piece]) -> None:
        """Add pieces, in the stream's own loop; none after it was aborted."""
        if not self._num_open:
            return
        self._pieces.extend(pieces)
        self._num_open -= sum(piece.is_last for piece in pieces)
        self._news.set()

    def fail(self, failure: OctavoError) -> None:
        """Let everyone who waits, now or later, see a failure, in the stream's own loop."""
        self._failure = failure
        self._num_open = 0
        self._news.set()


def post(news: Mapping[Stream, Sequence[Piece]]) -> None:
    """Hand pieces to their streams, from any thread, with one call into each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Stream, Sequence[Piece]]]] = {}
    for stream, pieces in news.items():
        by_loop.setdefault(stream.loop, []).append((stream, pieces))
    for loop, each in by_loop.items():
        call(loop, _put_all, each)


def call(
    loop: asyncio.AbstractEventLoop, what: Callable[[*Arguments], object], *arguments: *Arguments
) -> None:
    """Call something in a loop, from any thread; nothing where the loop is closed already."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(what, *arguments)


def _put_all(news: Sequence[tuple[Stream, Sequence[Piece]]]) -> None:
    for stream, pieces in news:
        stream.put(pieces)
