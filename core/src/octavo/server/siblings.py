"""Further processes that answer HTTP on the same port, for one engine.

Each has a listener of its own, made and kept by the first process, so that who waits there waits
for its successor when it dies. They drain when the first does, and end with it.

Does not know what they answer.
"""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from octavo.config import Settings
from octavo.process.channel import Place
from octavo.process.keeper import Keeper, Restarts
from octavo.process.launch import spawn

_LAST_FRAMES_S = 10.0


@dataclass(frozen=True, slots=True)
class SiblingLaunch:
    """What a sibling needs: the engine's folder, and the listener that it answers on."""

    folder: Path
    settings: Settings
    listener: int


class Siblings:
    """All further processes, one for each listener. `gave_up` hears why one does not come back."""

    def __init__(
        self,
        place: Place,
        settings: Settings,
        listeners: Sequence[socket.socket],
        *,
        gave_up: Callable[[str], None],
    ) -> None:
        self._keepers = [
            Keeper(
                _Sibling(place, settings, listener, index),
                Restarts(settings.max_restarts),
                gave_up=gave_up,
            )
            for index, listener in enumerate(listeners, start=2)
        ]
        self._drain_s = settings.shutdown_timeout_s

    @property
    def pids(self) -> list[int]:
        """Give the ids of those that run."""
        return [keeper.pid for keeper in self._keepers if keeper.pid is not None]

    def start(self) -> None:
        """Start them all; they answer when they are ready."""
        for keeper in self._keepers:
            keeper.start()

    def drain(self) -> None:
        """Tell them to end what is open and then themselves; harmless when repeated."""
        for keeper in self._keepers:
            keeper.expect_end()
            keeper.send(signal.SIGTERM)

    def stop(self, *, now: bool) -> None:
        """Wait until they have drained, or end them at once."""
        self.drain()
        for keeper in self._keepers:
            keeper.stop(patience_s=0.0 if now else self._drain_s + _LAST_FRAMES_S)


class _Sibling:
    """One of them, as its keeper knows it."""

    def __init__(
        self, place: Place, settings: Settings, listener: socket.socket, index: int
    ) -> None:
        self.what = f"API process {index}"
        self._fileno = listener.fileno()
        self._note = SiblingLaunch(place.folder, settings, self._fileno)

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, on its listener."""
        return spawn("octavo.server", self._note, inherit=[self._fileno])

    def is_ready(self) -> bool:
        """Say that it is: what the first process can, it can, so that it is worth a restart."""
        return True

    def wedged(self) -> None:
        """Say nothing: whether it answers, those see who ask it."""
