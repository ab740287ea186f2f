"""A heart that is moved by hand: one step made, one result read, in whatever order a test wants.

Knows nothing of what a test wants to show.
"""

from __future__ import annotations

from collections import deque

from octavo.heart import Heart
from octavo.step import Delta, Step
from octavo_platforms.inputs import Pending


class Moves:
    """A scheduler, its runner, and the launches in flight between the two."""

    def __init__(self, parts: Heart) -> None:
        self.scheduler, self.runner = parts.scheduler, parts.runner
        self.in_flight: deque[tuple[Step, Pending]] = deque()

    def schedule(self) -> Step | None:
        """Make a step and launch it."""
        step = self.scheduler.schedule()
        if step is not None:
            self.in_flight.append((step, self.runner.launch(step)))
            self.scheduler.name_blocks()
        return step

    def commit(self) -> Delta:
        """Read the oldest launch."""
        step, pending = self.in_flight.popleft()
        return self.scheduler.commit(step, pending.read())

    def drain(self) -> None:
        """Go on until nobody can compute anything."""
        while self.schedule() is not None or self.in_flight:
            self.commit()
