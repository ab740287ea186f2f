"""Server-sent events: frames of JSON, the closing frame, and a response that always cleans up.

Does not know what the frames say or who makes them.
Source: the event stream format of the HTML standard, section 9.2.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from octavo.server.errors import error_of

DONE = b"data: [DONE]\n\n"
_WRITER = json.JSONEncoder(ensure_ascii=False)  # `json.dumps` makes one for each text


def frame(data: str) -> bytes:
    """Make one event of a text without line breaks."""
    return f"data: {data}\n\n".encode()


def quoted(text: str) -> str:
    """Write a text as a JSON string."""
    return _WRITER.encode(text)


class EventStream(StreamingResponse):
    """Sends frames until they end, fail, or the client hangs up.

    A failure becomes an error frame, for the status is long sent. `close` runs once in every
    case, also where the client went before the first frame was asked for.
    """

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[bytes, None], *, close: Callable[[], None]) -> None:
        super().__init__(frames, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._frames = frames
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the frames."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()

    async def stream_response(self, send: Send) -> None:
        """Send what begins an answer, each frame as it is made, and the closing frame."""
        headers = self.raw_headers
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        each = b""
        while each is not DONE:
            try:
                each = await anext(self._frames, DONE)
            except Exception as failure:
                _, body = error_of(failure)
                each = frame(json.dumps(body, ensure_ascii=False))
            await send({"type": "http.response.body", "body": each, "more_body": each is not DONE})
