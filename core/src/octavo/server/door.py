"""The door: who is inside, and whether anybody is still let in.

While the server drains, requests that would make the model work are turned away at once, with
word to come again later; what is inside goes on. Everything else is answered to the end, so that
whoever sends the traffic can see that the server is going.

Pure ASGI, so that it counts a request until the last byte of its answer. Reads no body, and does
not know routes.
"""

from __future__ import annotations

import asyncio

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from octavo.server.errors import error_body

SHUTTING_DOWN = "The server is shutting down. Ask again when it is back."
_LOOK_S = 0.02
_RETRY_AFTER = "5"


class Door:
    """How many are inside; closed once and for all. One event loop uses it."""

    def __init__(self) -> None:
        self.num_inside = 0
        self.is_closed = False

    async def empty(self, *, wait_s: float) -> bool:
        """Wait until nobody is inside, at most so long; say whether that is so."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        while self.num_inside and loop.time() < end:
            await asyncio.sleep(_LOOK_S)
        return not self.num_inside


class Doorkeeper:
    """Lets work in through a door, or turns it away with 503."""

    def __init__(self, app: ASGIApp, *, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or turn it away."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if self._door.is_closed:
            body = error_body(SHUTTING_DOWN, "service_unavailable_error", code="shutting_down")
            headers = {"Retry-After": _RETRY_AFTER, "Connection": "close"}
            await JSONResponse(body, status_code=503, headers=headers)(scope, receive, send)
            return
        self._door.num_inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._door.num_inside -= 1
