"""`python -m octavo.process`: an engine process.

It is told on its standard input what to load, binds its address, loads while it says so, and
serves. It ends with the pipe that it was told by, with status 0 when told to stop, 1 when its
device failed, and 2 when the model cannot be loaded. Signals that end other processes do not end
it: whoever started it does, when nobody needs it any more.

Does not know what the model is, nor who asks it.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Protocol

from octavo.asking import Loaded
from octavo.config import Settings
from octavo.errors import OctavoError
from octavo.process.board import Board
from octavo.process.channel import EngineSocket, Place
from octavo.process.desk import Desk
from octavo.process.facts import facts_of
from octavo.process.launch import EngineLaunch, read_note
from octavo.process.messages import NotStarted, Ready, Said, fault_of
from octavo.process.pulse import Pulse
from octavo.process.queue import QueueLimits
from octavo.process.service import EngineService
from octavo_platforms.errors import PlatformError

log = logging.getLogger("octavo.engine")

Report = Callable[[str], None]

_GREETING_S = 5.0
_STDIN = 0


class Load(Protocol):
    """What makes a model of settings, telling each stage."""

    def __call__(self, settings: Settings, *, report: Report) -> Loaded:
        """Load it."""
        ...


def main() -> int:
    """Load and serve; give the exit status."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    launch = read_note(EngineLaunch, _STDIN)
    place = Place(launch.folder)
    board = Board(place.board)
    desk = Desk(EngineSocket(place))

    def orphaned() -> None:
        """End here and now: the engine's thread may be in the middle of anything."""
        place.remove()
        os._exit(1)

    pulse = Pulse(board.beat, parent=_STDIN, orphaned=orphaned)
    pulse.start()
    desk.greet(wait_s=_GREETING_S)  # who starts an engine says hello at once

    def say(line: str) -> None:
        desk.greet()
        desk.announce(Said(line))

    try:
        loaded = _load(launch.loader, launch.settings, say)
    except (OctavoError, PlatformError) as error:
        desk.greet(wait_s=_GREETING_S)
        desk.announce(NotStarted(fault_of(error)))
        desk.close(linger_s=_GREETING_S)
        return 2
    facts = facts_of(loaded)
    settings = launch.settings
    limits = QueueLimits(settings.max_queued_requests, settings.max_queued_tokens)
    desk.greet()
    desk.announce(Ready(facts), is_last=True)
    gc.collect()
    gc.freeze()  # what was loaded stays; with torch, to walk it once more is 158 ms within a step
    service = EngineService(loaded.engine, desk, board, limits=limits, eos_ids=facts.eos_ids)
    try:
        service.run()
    except Exception as failure:
        log.critical("the engine failed", exc_info=failure)
        return 1
    return 0


def _load(loader: str, settings: Settings, say: Report) -> Loaded:
    module, _, name = loader.partition(":")
    load: Load = getattr(importlib.import_module(module), name)
    return load(settings, report=say)


if __name__ == "__main__":
    sys.exit(main())
