"""An engine in a process of its own, kept alive.

A process that is stopped, or whose device hangs, is seen on its board and killed. `timeout_s` is
how long one step may take; a process need not be that patient to see that another does not run
at all.

Does not know how a model is loaded: that is in a note to the process.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

from octavo.config import Settings
from octavo.process.board import Board, Watch
from octavo.process.channel import Place
from octavo.process.keeper import LOOK_S, Keeper, Restarts
from octavo.process.launch import EngineLaunch, spawn

FROZEN_S = 10.0
"""How long a process need not beat before it counts as stopped; less where a step may take less."""

STOP_PATIENCE_S = 5.0
LOADER = "octavo.loading:load"


class ChildHost:
    """Runs an engine process, and another when that one ends or hangs.

    `loader` names what loads; `gave_up` hears why there will be no further process.
    """

    is_own = True

    def __init__(
        self,
        settings: Settings,
        *,
        loader: str = LOADER,
        gave_up: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self.place = Place.anywhere()
        engine = _Engine(self.place, settings, loader)
        self._keeper = Keeper(engine, Restarts(settings.max_restarts), gave_up=gave_up)
        self._engine = engine

    @property
    def failure(self) -> str | None:
        """Say why the engine ended and does not come back; None while it may."""
        return self._keeper.failure

    @property
    def pid(self) -> int | None:
        """Give the id of the process, None while there is none."""
        return self._keeper.pid

    def start(self) -> None:
        """Start the process; the model is loaded when its client is told so."""
        self.place.make()
        self._keeper.start()

    def kill(self) -> None:
        """End the process at once; there will be no other."""
        self._keeper.expect_end()
        self._keeper.send(signal.SIGKILL)

    def stop(self) -> None:
        """Wait for the process, which was told to stop if it can hear, and remove the folder."""
        self._keeper.stop(patience_s=STOP_PATIENCE_S if self._engine.is_ready() else 0.0)
        self.place.remove()


class _Engine:
    """The engine process, as its keeper knows it."""

    what = "The engine's process"

    def __init__(self, place: Place, settings: Settings, loader: str) -> None:
        self._note = EngineLaunch(place.folder, settings, loader)
        self._timeout_s = settings.engine_timeout_s
        self._frozen_s = min(FROZEN_S, settings.engine_timeout_s)
        self._path = place.board
        self._watch = Watch(longest_gap_s=2 * LOOK_S)
        self._board: Board | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, with a clear board."""
        self._board = Board(self._path)
        self._board.clear()
        return spawn("octavo.process", self._note)

    def is_ready(self) -> bool:
        """Tell whether its model is loaded."""
        return self._board is not None and self._board.read().is_ready

    def wedged(self) -> str | None:
        """Say why it must be killed: it does not run, or does not come to the end of a step."""
        watch = self._watch
        assert self._board is not None, "it was started"
        watch.look(self._board.read(), time.monotonic())
        if watch.silent_s > self._frozen_s:
            return f"did not run for {watch.silent_s:.1f} s, and was ended"
        if watch.stuck_s > self._timeout_s:
            return (
                f"did not end a step for {watch.stuck_s:.0f} s, and was ended. If steps may take "
                "that long, give a larger --engine-timeout"
            )
        return None
