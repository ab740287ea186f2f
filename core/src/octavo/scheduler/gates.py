"""Gates: reasons for which a request waits although it is its turn.

A grammar that is not ready, an adapter that is not loaded, an encoder's output that is missing,
a remote cache on its way: each feature brings a small class, and the scheduler asks it before it
seats somebody. A closed gate holds its own request alone: those behind it pass, and it has its
old turn when the gate opens.

    queue    a   b   c   d            seated    b   d
    gates    |       |                held      a   c

Whoever opens a gate, from any thread, rings the engine's bell, so that an engine with nothing
else to do need not look again and again.

Knows nothing of what is waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from octavo.request import Request


class Gate(Protocol):
    """One reason to wait. It is asked often, by the scheduler's thread, and must not block."""

    def is_open(self, request: Request) -> bool:
        """Tell whether a request may be seated, as far as this gate is concerned."""
        ...


class Bell:
    """Wakes who waits for a gate: whoever is in `wait`, and whoever `hears` it."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self._hears: Callable[[], None] | None = None

    def wakes(self, hears: Callable[[], None]) -> None:
        """Call this at each ring, for one who waits for other things too; in the ringing thread."""
        self._hears = hears

    def ring(self) -> None:
        """Wake who waits, or who waits next."""
        self._rung.set()
        if self._hears is not None:
            self._hears()

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until it was rung since the last time, None for ever, and say whether it was."""
        was_rung = self._rung.wait(timeout_s)
        self._rung.clear()
        return was_rung
