"""One process's server: an app on its listener, from the first answer to the last.

    SIGTERM, SIGINT ─▶ the door closes, `/ready` says so, the port stays open
                       open requests end, or the time is over and they end with an error
                   ─▶ the port closes, the process ends with status 0
    SIGINT again    ─▶ now, with status 130

Does not know where the engine is, nor how many processes serve.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from octavo.server.app import create_app
from octavo.server.door import SHUTTING_DOWN, Door
from octavo.server.served import Served

_LAST_FRAMES_S = 5
"""How long a client may take to read the end of its answer."""

_INTERRUPTED = 128 + signal.SIGINT


class Server(uvicorn.Server):
    """Serves until told to stop; then drains. `began` and `drains` are called once, when they do.

    Units: open requests may go on for `drain_s` seconds.
    """

    def __init__(
        self,
        served: Served,
        *,
        api_key: str | None,
        drain_s: float,
        began: Callable[[], None] = lambda: None,
        drains: Callable[[], None] = lambda: None,
    ) -> None:
        door = Door()
        app = create_app(served, api_key=api_key, door=door)
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                lifespan="on",
                timeout_graceful_shutdown=_LAST_FRAMES_S,
            )
        )
        self.status = 0
        self._served = served
        self._door = door
        self._drain_s = drain_s
        self._began = began
        self._drains = drains
        self._num_interrupts = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    def until_told(self, listener: socket.socket) -> int:
        """Serve, and give the exit status."""
        self.run(sockets=[listener])
        return self.status

    def end(self, status: int) -> None:
        """End soon, without waiting for anybody, with this status; from any thread."""
        self.status = status
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets=sockets)
        gc.collect()
        gc.freeze()  # what answers are made by stays; to walk it once more stops all streams
        if not self.should_exit:
            self._began()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; the second interrupt ends at once."""
        self._num_interrupts += sig == signal.SIGINT
        if self._num_interrupts > 1:
            self.force_exit = True
            logging.getLogger("uvicorn.error").disabled = True  # of the requests that it drops
            self.end(_INTERRUPTED)
        elif self._loop is None:
            self.end(0)
        elif not self._door.is_closed:
            self._door.is_closed = True
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._drains()
        self._draining = asyncio.create_task(self._until_empty())

    async def _until_empty(self) -> None:
        if not await self._door.empty(wait_s=self._drain_s):
            self._served.engine.fail_open(SHUTTING_DOWN)
        self.should_exit = True
