"""POST /v1/completions: prompts in, a choice for each out.

Does not know how tokens are made.
"""

from __future__ import annotations

import json
import uuid

from fastapi import APIRouter, Request, Response

from octavo.asking import DEFAULT_OUTPUT_TOKENS, prompt_ids
from octavo.errors import ClientError
from octavo.outputs import OutputText
from octavo.server.openai.generation import Generation, Json, opened, respond
from octavo.server.openai.protocol import CompletionBody
from octavo.server.served import Served
from octavo.server.sse import quoted

MAX_PROMPTS = 1024


def router(served: Served) -> APIRouter:
    """Make the route over a model."""
    routes = APIRouter()

    @routes.post("/v1/completions", response_model=None)
    async def complete(body: CompletionBody, http: Request) -> Response:
        """Continue one or several prompts."""
        served.check_name(body.model)
        params = body.sampling(served.model.default_sampling, max_tokens=DEFAULT_OUTPUT_TOKENS)
        prompts = [
            prompt_ids(served.model, prompt, add_special_tokens=body.add_special_tokens)
            for prompt in _prompts(body)
        ]
        echoes = _echoes(served, body, prompts)
        answer = CompletionAnswer(served, echoes, wants_usage=body.wants_usage)
        generation = Generation(served, answer.id, prompts, params)
        return await respond(http, body, generation, answer)

    return routes


class CompletionAnswer:
    """An answer's shape: whole, and as the chunks of a stream."""

    def __init__(self, served: Served, echoes: list[str], *, wants_usage: bool) -> None:
        self.id = f"cmpl-{uuid.uuid4().hex}"
        self._fields: Json = {
            "id": self.id,
            "object": "text_completion",
            "created": served.now(),
            "model": served.name,
            "system_fingerprint": served.fingerprint,
        }
        self._head = f'{opened(self._fields)}, "choices": ['
        self._tail = '], "usage": null}' if wants_usage else "]}"
        self._echoes = echoes

    def opening(self, index: int) -> str | None:
        """Give the prompt, where it is to be echoed."""
        return self.text(index, self._echoes[index]) if self._echoes[index] else None

    def text(self, index: int, text: str) -> str:
        """Give new text of a choice."""
        return (
            f'{self._head}{{"index": {index}, "text": {quoted(text)}, '
            f'"logprobs": null, "finish_reason": null}}{self._tail}'
        )

    def ending(self, index: int, output: OutputText) -> str:
        """Give how a choice ended."""
        return f"{self._head}{json.dumps(_choice(index, '', output))}{self._tail}"

    def usage(self, usage: Json) -> str:
        """Give the count of tokens that ends a stream."""
        return json.dumps({**self._fields, "choices": [], "usage": usage}, ensure_ascii=False)

    def whole(self, generation: Generation) -> Json:
        """Give the answer that is not streamed."""
        choices = [
            _choice(index, self._echoes[index] + output.text, output)
            for index, output in enumerate(generation.outputs)
        ]
        return {**self._fields, "choices": choices, "usage": generation.usage()}


def _prompts(body: CompletionBody) -> list[str] | list[list[int]]:
    """Give the prompts of a body, which may hold one or several, as text or as tokens."""
    prompt = body.prompt
    if isinstance(prompt, str):
        return [prompt]
    if not prompt or (len(prompt) > MAX_PROMPTS and not isinstance(prompt[0], int)):
        raise ClientError(
            f"'prompt' holds {len(prompt)} prompts, but it must hold from 1 to {MAX_PROMPTS}.",
            param="prompt",
        )
    tokens = [part for part in prompt if isinstance(part, int)]
    if tokens:
        return [tokens]
    texts = [part for part in prompt if isinstance(part, str)]
    return texts or [part for part in prompt if isinstance(part, list)]


def _echoes(served: Served, body: CompletionBody, prompts: list[list[int]]) -> list[str]:
    """Give the text that stands before each choice: the prompt as it was sent, or nothing."""
    if not body.echo:
        return [""] * len(prompts)
    decode = served.model.tokenizer.decode
    return [
        given if isinstance(given, str) else decode(ids, skip_special_tokens=False)
        for given, ids in zip(_prompts(body), prompts, strict=True)
    ]


def _choice(index: int, text: str, output: OutputText) -> Json:
    return {
        "index": index,
        "text": text,
        "logprobs": None,
        "finish_reason": output.finish_reason,
        "stop_reason": output.stop_reason,
    }
