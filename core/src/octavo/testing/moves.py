"""A heart that is moved by hand: one step made, one result read, in whatever order a test wants.

Knows nothing of what a test wants to show.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from octavo.heart import Heart
from octavo.step import Delta, Step
from octavo.testing.laggard import Broken
from octavo_platforms.inputs import Pending


class Moves:
    """A scheduler, its runner, and the launches in flight between the two.

    Where the device breaks, all is ended as an engine does, and `num_broken` counts it.
    """

    def __init__(self, parts: Heart) -> None:
        self.scheduler, self.runner = parts.scheduler, parts.runner
        self.in_flight: deque[tuple[Step, Pending]] = deque()
        self.num_broken = 0

    def schedule(self) -> Step | None:
        """Make a step and launch it; None also where the device breaks."""
        step = self.scheduler.schedule()
        if step is not None:
            try:
                self.in_flight.append((step, self.runner.launch(step)))
            except Broken:
                self._fail()
                return None
            self.scheduler.name_blocks()
        return step

    def commit(self) -> Delta:
        """Read the oldest launch; nothing comes of it where the device breaks."""
        step, pending = self.in_flight.popleft()
        try:
            result = pending.read()
        except Broken:
            self._fail()
            return Delta(request_ids=(), tokens=np.zeros(0, np.int32), finished={})
        return self.scheduler.commit(step, result)

    def _fail(self) -> None:
        self.in_flight.clear()
        self.scheduler.fail()
        self.num_broken += 1

    def drain(self) -> None:
        """Go on until nobody can compute anything."""
        while self.schedule() is not None or self.in_flight:
            self.commit()
