"""The app: routes, errors, the key, and the engine thread's life around them.

Does not know how an answer is made, or on what address it listens.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import JSONResponse

import octavo
from octavo.server import errors
from octavo.server.auth import BearerAuth
from octavo.server.lifecycle import describe
from octavo.server.openai import chat, completions, models
from octavo.server.served import Served


def create_app(served: Served, *, api_key: str | None = None) -> FastAPI:
    """Make the app that serves a model; with a key, to those alone who send it.

    Effects: the engine belongs to the app's own thread from its start-up to its shutdown.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        served.engine.start()
        yield
        await served.engine.stop()

    app = FastAPI(
        title="Octavo", version=octavo.__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    errors.install(app)
    for dialect in (completions, chat, models):
        app.include_router(dialect.router(served))
    _add_own_routes(app, served)
    if api_key is not None:
        app.add_middleware(BearerAuth, key=api_key)
    return app


def _add_own_routes(app: FastAPI, served: Served) -> None:
    @app.get("/")
    async def root() -> dict[str, object]:
        """Say what this is and where to go on."""
        routes = ["/v1/completions", "/v1/chat/completions", "/v1/models", "/health", "/version"]
        return {"octavo": octavo.__version__, "model": served.name, "routes": routes}

    @app.get("/version")
    async def version() -> dict[str, str]:
        """Say which version answers."""
        return {"version": octavo.__version__}

    @app.get("/health", response_model=None)
    async def health() -> JSONResponse:
        """Say whether requests are answered: 200, or 503 with the reason."""
        failure = served.engine.failure
        if failure is None:
            return JSONResponse({"status": "ok"})
        reason = f"The engine failed: {describe(failure)}. Restart the server."
        body = errors.error_body(reason, "service_unavailable_error", code="engine_failed")
        return JSONResponse({"status": "failed", **body}, status_code=503)
