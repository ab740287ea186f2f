"""The queue: requests that wait for a seat, whose turn is first in front.

Knows nothing of what they wait for.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

from octavo.request import Request, Turn
from octavo.scheduler.gates import Gate


class Queue:
    """Who waits. `num_held` are those whom a gate held in the last walk."""

    def __init__(self) -> None:
        self.num_held = 0
        self._waiting: list[Request] = []

    def __len__(self) -> int:
        """Give the number of waiting requests."""
        return len(self._waiting)

    def __iter__(self) -> Iterator[Request]:
        """Walk them in order."""
        return iter(self._waiting)

    def add(self, request: Request) -> None:
        """Let one wait, in its turn."""
        insort(self._waiting, request, key=turn_of)

    def admissible(self, gates: Sequence[Gate]) -> Iterator[Request]:
        """Walk those whom no gate holds, in order, for as long as each is removed."""
        self.num_held = 0
        while self.num_held < len(self._waiting):
            request = self._waiting[self.num_held]
            if not all(gate.is_open(request) for gate in gates):
                self.num_held += 1
                continue
            num_waiting = len(self._waiting)
            yield request
            if len(self._waiting) == num_waiting:
                return

    def remove(self, request: Request) -> None:
        """Strike one, wherever it stands."""
        del self._waiting[bisect_left(self._waiting, turn_of(request), key=turn_of)]


def turn_of(request: Request) -> Turn:
    """Give the turn of a request that has arrived."""
    assert request.turn is not None, "who has arrived has a turn"
    return request.turn
