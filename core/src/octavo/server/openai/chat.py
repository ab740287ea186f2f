"""POST /v1/chat/completions: a conversation in, the assistant's next message out.

Does not know how a conversation becomes text.
"""

from __future__ import annotations

import json
import uuid

from fastapi import APIRouter, Request, Response

from octavo.asking import conversation_ids
from octavo.outputs import OutputText
from octavo.server.openai.generation import (
    Generation,
    check_choices,
    in_words_of,
    opened,
    respond,
)
from octavo.server.openai.protocol import ChatBody
from octavo.server.openai.telling import Json, Teller, Told
from octavo.server.served import Served
from octavo.server.sse import quoted


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
            ids = conversation_ids(
                served.model,
                [message.for_template() for message in body.messages],
                add_generation_prompt=body.add_generation_prompt,
                extra=body.chat_template_kwargs,
            )
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
