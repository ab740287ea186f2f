"""POST /v1/chat/completions: a conversation in, the assistant's next message out.

Does not know how a conversation becomes text.
"""

from __future__ import annotations

import json
import uuid

from fastapi import APIRouter, Request, Response

from octavo.asking import conversation_ids
from octavo.outputs import OutputText
from octavo.server.openai.generation import Generation, Json, opened, respond
from octavo.server.openai.protocol import ChatBody
from octavo.server.served import Served
from octavo.server.sse import quoted


def router(served: Served) -> APIRouter:
    """Make the route over a model."""
    routes = APIRouter()

    @routes.post("/v1/chat/completions", response_model=None)
    async def converse(body: ChatBody, http: Request) -> Response:
        """Answer the last message of a conversation."""
        served.check_name(body.model)
        params = body.sampling(served.model.default_sampling, max_tokens=None)
        ids = conversation_ids(
            served.model,
            [message.for_template() for message in body.messages],
            add_generation_prompt=body.add_generation_prompt,
            extra=body.chat_template_kwargs,
        )
        answer = ChatAnswer(served, wants_usage=body.wants_usage)
        generation = Generation(served, answer.id, [ids], params)
        return await respond(http, body, generation, answer)

    return routes


class ChatAnswer:
    """An answer's shape: whole, and as the chunks of a stream."""

    def __init__(self, served: Served, *, wants_usage: bool) -> None:
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
        self._tail = '], "usage": null}' if wants_usage else "]}"

    def opening(self, index: int) -> str | None:
        """Give the role, before any text."""
        return (
            f'{self._head}{{"index": {index}, "delta": {{"role": "assistant", "content": ""}}, '
            f'"logprobs": null, "finish_reason": null}}{self._tail}'
        )

    def text(self, index: int, text: str) -> str:
        """Give new text of the message."""
        return (
            f'{self._head}{{"index": {index}, "delta": {{"content": {quoted(text)}}}, '
            f'"logprobs": null, "finish_reason": null}}{self._tail}'
        )

    def ending(self, index: int, output: OutputText) -> str:
        """Give how the message ended."""
        choice = {
            "index": index,
            "delta": {},
            "logprobs": None,
            "finish_reason": output.finish_reason,
            "stop_reason": output.stop_reason,
        }
        return f"{self._head}{json.dumps(choice, ensure_ascii=False)}{self._tail}"

    def usage(self, usage: Json) -> str:
        """Give the count of tokens that ends a stream."""
        return json.dumps({**self._chunk_fields, "choices": [], "usage": usage}, ensure_ascii=False)

    def whole(self, generation: Generation) -> Json:
        """Give the answer that is not streamed."""
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": output.text},
                "logprobs": None,
                "finish_reason": output.finish_reason,
                "stop_reason": output.stop_reason,
            }
            for index, output in enumerate(generation.outputs)
        ]
        return {**self._fields, "choices": choices, "usage": generation.usage()}
