"""How often something happens, of late: what is older counts less.

    counted   |  | |    |   |  || |   |        now
    weight    .  . -    -   -  =  =   #

Does not know what is counted; the clock is its caller's.
"""

from __future__ import annotations

import math

MEMORY_S = 20.0


class Rate:
    """Counts events. Units: seconds, of the clock that `count` and `per_s` are given."""

    def __init__(self, began_s: float, *, memory_s: float = MEMORY_S) -> None:
        self._memory_s = memory_s
        self._began_s = self._counted_s = began_s
        self._num = 0.0

    def count(self, num: int, now_s: float) -> None:
        """Count events that happened just now."""
        self._num = self._num * self._weight(self._counted_s, now_s) + num
        self._counted_s = now_s

    def per_s(self, now_s: float) -> float:
        """Give how many there are in a second; 0 before the first."""
        seen = 1 - self._weight(self._began_s, now_s)
        if not seen:
            return 0.0
        return self._num * self._weight(self._counted_s, now_s) / (seen * self._memory_s)

    def _weight(self, then_s: float, now_s: float) -> float:
        return math.exp((then_s - now_s) / self._memory_s)
