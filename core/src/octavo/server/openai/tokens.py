"""POST /tokenize and /detokenize: which tokens a prompt or a conversation has, and their text.

Does not run the model.
Source: vLLM's routes of these names.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Discriminator, Tag

from octavo.asking import prompt_ids
from octavo.errors import ClientError
from octavo.server.openai.conversation import ConversationBody, ids_of
from octavo.server.openai.protocol import Body, Flag, TokenId
from octavo.server.served import Served


class PromptBody(Body):
    """A text, and whether it gets what the model expects around a text."""

    model: str | None = None
    prompt: str
    add_special_tokens: Flag = True
    return_token_strs: Flag | None = False


class TalkBody(ConversationBody):
    """A conversation; its template mostly writes special tokens itself."""

    model: str | None = None
    add_special_tokens: Flag = False
    return_token_strs: Flag | None = False


class DetokenizeBody(Body):
    """The tokens of a text."""

    model: str | None = None
    tokens: list[TokenId]


def _kind(body: object) -> str:
    return "Talk" if isinstance(body, dict) and "messages" in body else "Prompt"


TokenizeBody = Annotated[
    Annotated[PromptBody, Tag("Prompt")] | Annotated[TalkBody, Tag("Talk")], Discriminator(_kind)
]


def router(served: Served) -> APIRouter:
    """Make the routes over a model."""
    routes = APIRouter()

    @routes.post("/tokenize")
    async def tokenize(body: TokenizeBody) -> dict[str, object]:
        """Give the tokens of a prompt, or of what a conversation becomes."""
        served.check_name(body.model)
        model = served.model
        if isinstance(body, PromptBody):
            ids = prompt_ids(model, body.prompt, add_special_tokens=body.add_special_tokens)
        else:
            ids = await ids_of(served, body, add_special_tokens=body.add_special_tokens)
        spelled = [model.tokenizer.token_text(each) for each in ids]
        return {
            "count": len(ids),
            "max_model_len": model.max_context_tokens,
            "tokens": ids,
            "token_strs": spelled if body.return_token_strs else None,
        }

    @routes.post("/detokenize")
    async def detokenize(body: DetokenizeBody) -> dict[str, str]:
        """Give the text of tokens, special ones spelled out."""
        served.check_name(body.model)
        tokenizer = served.model.tokenizer
        strange = [each for each in body.tokens if each >= tokenizer.vocab_size]
        if strange:
            raise ClientError(
                f"There is no token {strange[0]}: the vocabulary has {tokenizer.vocab_size}.",
                param="tokens",
            )
        return {"prompt": tokenizer.decode(body.tokens, skip_special_tokens=False)}

    return routes
