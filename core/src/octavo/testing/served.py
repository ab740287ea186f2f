"""A real server on a free port of this machine, for tests of what clients see.

Does not know what is served: any loaded model will do.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import uvicorn

from octavo.asking import Loaded
from octavo.process.client import EngineClient
from octavo.server.app import create_app
from octavo.server.listening import listening
from octavo.server.served import Served

PATIENCE_S = 120.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Live:
    """A server that answers, the model behind it, and what the server asks it by."""

    loaded: Loaded
    engine: EngineClient
    port: int

    @property
    def url(self) -> str:
        """Give the address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """Open a bare connection, for clients that misbehave."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)


@contextmanager
def running(
    loaded: Loaded, *, api_key: str | None = None, trusts_templates: bool = False
) -> Iterator[Live]:
    """Serve a model until the end of the `with`.

    Effects: the server's event loop and the engine run in threads of this process.
    """
    served = Served.over(loaded, trusts_templates=trusts_templates)
    app = create_app(served, api_key=api_key)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
    with listening("127.0.0.1", 0) as taken:
        port: int = taken.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
        thread.start()
        try:
            until(lambda: server.started)
            yield Live(loaded, served.engine, port)
        finally:
            server.should_exit = True
            thread.join()


def until(is_true: Callable[[], bool]) -> None:
    """Wait for something that must come true soon, on however slow a machine.

    Raises: TimeoutError, after two minutes.
    """
    end = time.monotonic() + PATIENCE_S
    while not is_true():
        if time.monotonic() > end:
            raise TimeoutError("what was waited for did not come true")
        time.sleep(0.005)


def within(work: Coroutine[None, None, T]) -> T:
    """Do something on an event loop of its own that must end soon, on however slow a machine.

    Raises: TimeoutError, after two minutes; else what the work raises.
    """
    return asyncio.run(asyncio.wait_for(work, PATIENCE_S))
