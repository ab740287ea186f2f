"""An engine in a thread of this process: one process, the same messages.

For tests, and for whoever wants a single process more than that the engine's death or the
interpreter's lock touch nobody else.

Does not know how its model was loaded.
"""

from __future__ import annotations

import logging
import threading

from octavo.asking import Loaded
from octavo.process.board import Board
from octavo.process.channel import EngineSocket, Place
from octavo.process.desk import Desk
from octavo.process.facts import facts_of
from octavo.process.messages import Ready, describe
from octavo.process.pulse import Pulse
from octavo.process.queue import QueueLimits
from octavo.process.service import PROBE_S, EngineService

log = logging.getLogger("octavo.engine")


class ThreadHost:
    """Runs a loaded model's engine in a thread. An engine that failed does not come back.

    Units: every `probe_s` it looks for clients that went without a word.
    """

    is_own = True

    def __init__(
        self, loaded: Loaded, *, limits: QueueLimits | None = None, probe_s: float = PROBE_S
    ) -> None:
        self.failure: str | None = None
        self.place = Place.anywhere()
        self._loaded = loaded
        self._limits = QueueLimits() if limits is None else limits
        self._probe_s = probe_s
        self._thread = threading.Thread(target=self._run, name="octavo-engine", daemon=True)

    def start(self) -> None:
        """Start the thread; from here on it owns the engine."""
        self.place.make()
        self._board = Board(self.place.board)
        self._desk = Desk(EngineSocket(self.place))
        self._thread.start()

    def stop(self) -> None:
        """Wait for the thread, and remove the folder."""
        if self._thread.ident is not None:
            self._thread.join()
        self.place.remove()

    def _run(self) -> None:
        pulse = Pulse(self._board.beat)
        pulse.start()
        facts = facts_of(self._loaded)
        self._desk.announce(Ready(facts), is_last=True)
        engine = self._loaded.engine
        service = EngineService(
            engine,
            self._desk,
            self._board,
            limits=self._limits,
            eos_ids=facts.eos_ids,
            probe_s=self._probe_s,
        )
        try:
            service.run()
        except Exception as failure:
            log.critical("the engine failed", exc_info=failure)
            self.failure = f"The engine failed: {describe(failure)}"
        finally:
            pulse.stop()
