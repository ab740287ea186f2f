"""Who may ask: with a key set, every route but `/health` and `/ready` wants it as a bearer token.

Pure ASGI, so it stands before routing: an unknown route tells a stranger nothing either.
Does not know routes, and reads no body.
"""

from __future__ import annotations

import hmac

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from octavo.server.errors import error_body

OPEN_PATHS = frozenset({"/health", "/ready"})


class BearerAuth:
    """Lets requests through that carry the key, and answers 401 to the others."""

    def __init__(self, app: ASGIApp, *, key: str) -> None:
        self._app = app
        self._expected = f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or hand the request on."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._is_known(scope):
            await self._app(scope, receive, send)
            return
        body = error_body(
            "The API key is missing or wrong. Send it as 'Authorization: Bearer KEY'.",
            "authentication_error",
            code="invalid_api_key",
        )
        refusal = JSONResponse(body, status_code=401, headers={"WWW-Authenticate": "Bearer"})
        await refusal(scope, receive, send)

    def _is_known(self, scope: Scope) -> bool:
        given = Headers(scope=scope).get("authorization", "")
        return hmac.compare_digest(given.encode(), self._expected)
