"""Work for a client only while the client is there.

Does not know what the work is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from starlette.requests import Request

from octavo.errors import ClientError

T = TypeVar("T")


class HungUp(ClientError):
    """The client went away before its answer; the answer to that is read by nobody."""

    status = 499
    code = "client_closed_request"


async def while_connected(http: Request, work: Coroutine[None, None, T]) -> T:
    """Do the work, or cancel it as soon as the client hangs up. The body must have been read.

    Raises: HungUp, after the work was cancelled; else what the work raises.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_hang_up(http))
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise HungUp("The client closed the connection before the answer was ready.")
    finally:
        for each in (task, watch):
            each.cancel()
        await asyncio.wait((task, watch))


async def _hang_up(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass
