"""POST /v1/chat/completions: a conversation in, the assistant's next message out.

Does not know how a conversation becomes text.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from fastapi import APIRouter, Request, Response
from pydantic import model_validator

from octavo.errors import ClientError
from octavo.outputs import OutputText
from octavo.server.openai.conversation import ConversationBody, ids_of
from octavo.server.openai.generation import (
    Generation,
    check_choices,
    in_words_of,
    opened,
    respond,
)
from octavo.server.openai.protocol import (
    CHAT_NEUTRAL,
    NEUTRAL,
    Count,
    Flag,
    GenerationBody,
    Logprobs,
    without_neutral,
)
from octavo.server.openai.telling import Json, Teller, Told
from octavo.server.served import Served
from octavo.server.sse import quoted


class ChatBody(ConversationBody, GenerationBody):
    """The body of POST /v1/chat/completions."""

    max_completion_tokens: Count | None = None
    logprobs: Flag | None = False
    top_logprobs: Logprobs | None = None
    add_special_tokens: Flag = False

    @model_validator(mode="before")
    @classmethod
    def _refuse_by_name(cls, body: object) -> object:
        return without_neutral(body, {**NEUTRAL, **CHAT_NEUTRAL})

    @model_validator(mode="after")
    def _newer_name_wins(self) -> ChatBody:
        if self.max_completion_tokens is not None:
            self.max_tokens = self.max_completion_tokens
        if self.top_logprobs and not self.logprobs:
            raise ClientError(
                "'top_logprobs' says how many logprobs to give, but 'logprobs' is not true.",
                param="top_logprobs",
            )
        return self

    @property
    def num_logprobs(self) -> int | None:
        """Give how many likeliest ids are told of each token, None for no logprobs at all."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def names(self) -> Mapping[str, str]:
        """Give how the client knows what is refused under another name."""
        known = {**super().names, "prompt": "messages"}
        if self.top_logprobs:
            known["logprobs"] = "top_logprobs"
        if self.max_completion_tokens is not None:
            known["max_tokens"] = "max_completion_tokens"
        return known


def router(served: Served) -> APIRouter:
    """Make the route over a model."""
    routes = APIRouter()

    @routes.post("/v1/chat/completions", response_model=None)
    async def converse(body: ChatBody, http: Request) -> Response:
        """Answer the last message of a conversation."""
        served.check_name(body.model)
        with in_words_of(body):
            params = body.sampling(served.model.default_sampling, max_tokens=None)
            check_choices(served, 1, params)
            ids = await ids_of(served, body, add_special_tokens=body.add_special_tokens)
            answer = ChatAnswer(served, body.told)
            generation = Generation(served, answer.id, [ids], params, body)
            return await respond(http, generation, answer, stream=bool(body.stream))

    return routes


class ChatAnswer:
    """An answer's shape: whole, and as the chunks of a stream."""

    def __init__(self, served: Served, told: Told) -> None:
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self._fields: Json = {
            "id": self.id,
            "object": "chat.completion",
            "created": served.now(),
            "model": served.name,
            "system_fingerprint": served.fingerprint,
        }
        self._chunk_fields: Json = {**self._fields, "object": "chat.completion.chunk"}
        self._head = f'{opened(self._chunk_fields)}, "choices": ['
        self._teller = Teller(served.model.tokenizer, told)

    def opening(self, index: int, first: OutputText) -> str | None:
        """Give the role, before any text; with the first, what is told of the prompt."""
        choice = (
            f'{{"index": {index}, "delta": {{"role": "assistant", "content": ""}}, '
            '"logprobs": null, "finish_reason": null}'
        )
        about = {} if index else self._teller.prompt(first)
        more = f", {json.dumps(about)[1:-1]}" if about else ""
        return f"{self._head}{choice}]{more}"

    def text(self, index: int, text: str) -> str:
        """Give new text of the message."""
        return (
            f'{self._head}{{"index": {index}, "delta": {{"content": {quoted(text)}}}, '
            f'"logprobs": null, "finish_reason": null}}]'
        )

    def told(self, index: int, output: OutputText, text: str, part: slice) -> str:
        """Give new text of the message, and what is told of its tokens."""
        choice = {
            "index": index,
            "delta": {"content": text},
            "logprobs": self._teller.chat(output, part),
            "finish_reason": None,
            **self._teller.ids(output, part),
        }
        return f"{self._head}{json.dumps(choice, ensure_ascii=False)}]"

    def ending(self, index: int, output: OutputText) -> str:
        """Give how the message ended."""
        choice = {
            "index": index,
            "delta": {},
            "logprobs": None,
            "finish_reason": output.finish_reason,
            "stop_reason": output.stop_reason,
        }
        return f"{self._head}{json.dumps(choice, ensure_ascii=False)}]"

    def usage(self, usage: Json) -> str:
        """Give the count of tokens that ends a stream, as a whole line."""
        return json.dumps({**self._chunk_fields, "choices": [], "usage": usage}, ensure_ascii=False)

    def whole(self, generation: Generation) -> Json:
        """Give the answer that is not streamed."""
        every = slice(None)
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": output.text},
                "logprobs": self._teller.chat(output, every),
                "finish_reason": output.finish_reason,
                "stop_reason": output.stop_reason,
                **self._teller.ids(output, every),
            }
            for index, output in enumerate(generation.choices())
        ]
        (first,) = generation.firsts()
        return {
            **self._fields,
            "choices": choices,
            "usage": generation.usage(),
            **self._teller.prompt(first),
        }
