"""The pulse: a thread that shows that its process runs at all, whatever the others do.

It beats where others can see it, and, in a process of its own, notices when whoever started it
is gone: the pipe that it was started with then reads as ended.

Does not know what the process is for.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable

BEAT_S = 0.2


class Pulse:
    """Calls `beat` from `start` to `stop`, and `orphaned` when the `parent` pipe has ended."""

    def __init__(
        self,
        beat: Callable[[], None],
        *,
        parent: int | None = None,
        orphaned: Callable[[], None] = lambda: None,
    ) -> None:
        self._beat = beat
        self._parents = [] if parent is None else [parent]
        self._orphaned = orphaned
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="octavo-pulse", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._is_stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_stopped.is_set():
            self._beat()
            if not self._parents:
                self._is_stopped.wait(BEAT_S)
            elif select.select(self._parents, [], [], BEAT_S)[0]:
                self._orphaned()
                return
