"""The app: routes, errors, the key, the door, and the engine's life around them.

Does not know how an answer is made, or on what address it listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import JSONResponse

import octavo
from octavo.server import errors
from octavo.server.auth import BearerAuth
from octavo.server.door import SHUTTING_DOWN, Door, Doorkeeper
from octavo.server.openai import chat, completions, models, tokens
from octavo.server.served import Served


def create_app(served: Served, *, api_key: str | None = None, door: Door | None = None) -> FastAPI:
    """Make the app that serves a model; with a key, to those alone who send it.

    Effects: an engine that is the app's own runs from its start-up to its shutdown.
    """
    entrance = Door() if door is None else door

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if served.is_own:
            served.engine.start()
            await asyncio.to_thread(served.engine.wait_ready)
        yield
        if served.is_own:
            await asyncio.to_thread(served.engine.close)

    app = FastAPI(
        title="Octavo", version=octavo.__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    errors.install(app)
    for dialect in (completions, chat, models, tokens):
        app.include_router(dialect.router(served))
    _add_own_routes(app, served, entrance)
    app.add_middleware(Doorkeeper, door=entrance)
    if api_key is not None:
        app.add_middleware(BearerAuth, key=api_key)
    return app


def _add_own_routes(app: FastAPI, served: Served, door: Door) -> None:
    @app.get("/")
    async def root() -> dict[str, object]:
        """Say what this is and where to go on."""
        openai = ["/v1/completions", "/v1/chat/completions", "/v1/models"]
        routes = [*openai, "/tokenize", "/detokenize", "/health", "/ready"]
        return {"octavo": octavo.__version__, "model": served.name, "routes": routes}

    @app.get("/version")
    async def version() -> dict[str, str]:
        """Say which version answers."""
        return {"version": octavo.__version__}

    @app.get("/health", response_model=None)
    async def health() -> JSONResponse:
        """Say whether the engine answers: 200, or 503 with the reason."""
        failure = served.engine.failure
        return JSONResponse({"status": "ok"}) if failure is None else _unavailable(failure)

    @app.get("/ready", response_model=None)
    async def ready() -> JSONResponse:
        """Say whether requests should be sent here: 200, or 503 with the reason."""
        failure = SHUTTING_DOWN if door.is_closed else served.engine.failure
        return JSONResponse({"status": "ready"}) if failure is None else _unavailable(failure)


def _unavailable(reason: str) -> JSONResponse:
    body = errors.error_body(reason, "service_unavailable_error", code="engine_unavailable")
    return JSONResponse({"status": "unavailable", **body}, status_code=503)
