"""What callers ask the client's thread to do, and where they leave it.

Does not know what becomes of a note.
"""

from __future__ import annotations

import asyncio
import os
import queue
from collections.abc import Iterator
from dataclasses import dataclass

from octavo.errors import OctavoError
from octavo.process.messages import Control, StatsTold
from octavo.process.stream import Stream


@dataclass(frozen=True, slots=True)
class Submit:
    """Send a stream's requests to the engine."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class End:
    """End requests whose output nobody wants any more."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FailOpen:
    """Fail everything that is open, and end it in the engine."""

    failure: OctavoError


@dataclass(frozen=True, slots=True)
class Question:
    """Have something done to the engine; the answer is set in its own loop."""

    control: Control
    answer: asyncio.Future[StatsTold]
    loop: asyncio.AbstractEventLoop


@dataclass(frozen=True, slots=True)
class Close:
    """End, and the engine with it where it is ours."""


Note = Submit | End | FailOpen | Question | Close


class Inbox:
    """Notes from any thread to one that waits on `fileno` too."""

    def __init__(self) -> None:
        self._notes: queue.SimpleQueue[Note] = queue.SimpleQueue()
        self.fileno, self._bell = os.pipe()

    def put(self, note: Note) -> None:
        """Leave a note, and ring."""
        self._notes.put(note)
        os.write(self._bell, b"\0")

    def take(self) -> Iterator[Note]:
        """Give the notes that lie here; to be called where `fileno` can be read."""
        rung = os.read(self.fileno, 4096)
        for _ in rung:
            yield self._notes.get()

    def close(self) -> None:
        """Take the bell down, when nobody waits or puts any more."""
        os.close(self.fileno)
        os.close(self._bell)
