"""What a start says while it happens: each stage on its line, with the seconds since the start.

Does not know what the stages are.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO


class Story:
    """Prints stages as they begin; call it with a line."""

    def __init__(
        self, out: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._out = sys.stderr if out is None else out
        self._clock = clock
        self._began = clock()

    def __call__(self, line: str) -> None:
        """Print one stage.

        Effects: writes a line and flushes, so that a waiting person sees it at once.
        """
        print(f"{self._clock() - self._began:6.1f} s  {line}", file=self._out, flush=True)

    def plain(self, text: str) -> None:
        """Print text that is no stage."""
        print(text, file=self._out, flush=True)
