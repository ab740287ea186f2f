"""GET /v1/models: what is served, and how long its context may be.

Does not know how the model was loaded.
"""

from __future__ import annotations

from fastapi import APIRouter

from octavo.server.openai.telling import Json
from octavo.server.served import Served


def router(served: Served) -> APIRouter:
    """Make the routes over a model."""
    routes = APIRouter()
    card: Json = {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "octavo",
        "root": served.model.model_name,
        "parent": None,
        "max_model_len": served.model.max_context_tokens,
    }

    @routes.get("/v1/models")
    async def list_models() -> Json:
        """List the models that may be named in a request."""
        return {"object": "list", "data": [card]}

    @routes.get("/v1/models/{name:path}")
    async def show_model(name: str) -> Json:
        """Describe one model."""
        served.check_name(name)
        return card

    return routes
