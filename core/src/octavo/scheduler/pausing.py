"""The pause: why nobody, or nobody new, is seated for a while.

    mode     who runs             who waits
    abort    is ended             is ended; who comes later waits
    wait     goes on to its end   waits, but for those who had begun and lost their seats
    keep     stops where it is    waits

Knows nothing of how requests are ended, nor of launches that are still unread.
"""

from __future__ import annotations

from typing import Literal

from octavo.request import Request

PauseMode = Literal["abort", "wait", "keep"]


class Pause:
    """Whether there is a pause, and which. It is a gate."""

    def __init__(self) -> None:
        self.mode: PauseMode | None = None

    @property
    def is_frozen(self) -> bool:
        """Tell whether nobody computes anything."""
        return self.mode in ("abort", "keep")

    def is_open(self, request: Request) -> bool:
        """Tell whether a request may be seated."""
        return self.mode is None or (self.mode == "wait" and request.has_begun)
