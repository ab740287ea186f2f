"""POST /v1/completions: prompts in, one or several choices for each out.

Does not know how tokens are made.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from octavo.asking import DEFAULT_OUTPUT_TOKENS, SamplingParams, prompt_ids
from octavo.errors import ClientError
from octavo.outputs import OutputText
from octavo.server.openai.generation import (
    Generation,
    check_choices,
    in_words_of,
    opened,
    respond,
)
from octavo.server.openai.protocol import CompletionBody
from octavo.server.openai.telling import Json, Offsets, Teller, Told, echoed_offsets
from octavo.server.served import Served
from octavo.server.sse import quoted

MAX_PROMPTS = 1024


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of each choice: what is told, the echoes, and whether they stand alone."""

    told: Told
    echoes: Sequence[str]
    is_echo_alone: bool


def router(served: Served) -> APIRouter:
    """Make the route over a model."""
    routes = APIRouter()

    @routes.post("/v1/completions", response_model=None)
    async def complete(body: CompletionBody, http: Request) -> Response:
        """Continue one or several prompts."""
        served.check_name(body.model)
        with in_words_of(body):
            given = _prompts(body)
            params = body.sampling(served.model.default_sampling, max_tokens=DEFAULT_OUTPUT_TOKENS)
            check_choices(served, len(given), params)
            prompts = [
                prompt_ids(served.model, prompt, add_special_tokens=body.add_special_tokens)
                for prompt in given
            ]
            shown = Shown(body.told, _echoes(served, body, prompts), body.is_echo_alone)
            answer = CompletionAnswer(served, params, shown)
            generation = Generation(
                served, answer.id, prompts, params, body, is_echo_alone=body.is_echo_alone
            )
            return await respond(http, generation, answer, stream=bool(body.stream))

    return routes


class CompletionAnswer:
    """An answer's shape: whole, and as the chunks of a stream."""

    def __init__(self, served: Served, params: SamplingParams, shown: Shown) -> None:
        self.id = f"cmpl-{uuid.uuid4().hex}"
        self._fields: Json = {
            "id": self.id,
            "object": "text_completion",
            "created": served.now(),
            "model": served.name,
            "system_fingerprint": served.fingerprint,
        }
        self._head = f'{opened(self._fields)}, "choices": ['
        self._tokenizer = served.model.tokenizer
        self._params = params
        self._shown = shown
        self._teller = Teller(served.model.tokenizer, shown.told)
        self._offsets: dict[int, Offsets] = {}

    def opening(self, index: int, first: OutputText) -> str | None:
        """Give the prompt, where it is to be echoed or told of."""
        echo, about = self._echo(index), self._teller.prompt(first)
        if not echo and not about:
            return None
        return self._chunk(index, echo, self._echoed(index, first), about)

    def text(self, index: int, text: str) -> str:
        """Give new text of a choice."""
        return (
            f'{self._head}{{"index": {index}, "text": {quoted(text)}, '
            f'"logprobs": null, "finish_reason": null}}]'
        )

    def told(self, index: int, output: OutputText, text: str, part: slice) -> str:
        """Give new text of a choice, and what is told of its tokens."""
        logprobs = self._logprobs(index, output, part)
        return self._chunk(index, text, logprobs, self._teller.ids(output, part))

    def ending(self, index: int, output: OutputText) -> str:
        """Give how a choice ended."""
        return f"{self._head}{json.dumps(self._choice(index, '', output))}]"

    def usage(self, usage: Json) -> str:
        """Give the count of tokens that ends a stream, as a whole line."""
        return json.dumps({**self._fields, "choices": [], "usage": usage}, ensure_ascii=False)

    def whole(self, generation: Generation) -> Json:
        """Give the answer that is not streamed."""
        firsts, per_prompt = generation.firsts(), self._params.n
        choices = []
        for index, output in enumerate(generation.choices()):
            part = slice(0) if self._shown.is_echo_alone else slice(None)
            text = "" if self._shown.is_echo_alone else output.text
            first = firsts[index // per_prompt]
            choices.append(
                {
                    **self._choice(index, self._echo(index) + text, output),
                    "logprobs": _joined(
                        self._echoed(index, first), self._logprobs(index, output, part)
                    ),
                    **self._teller.ids(output, part),
                    **self._teller.prompt(first),
                }
            )
        return {**self._fields, "choices": choices, "usage": generation.usage()}

    def _echo(self, index: int) -> str:
        """Give the text that stands before a choice."""
        return self._shown.echoes[index // self._params.n] if self._shown.echoes else ""

    def _echoed(self, index: int, first: OutputText) -> Json | None:
        """Write the logprobs of an echo."""
        if not self._shown.echoes or self._shown.told.logprobs is None:
            return None
        tokens = first.request.prompt_ids.tolist()
        offsets = echoed_offsets(self._tokenizer, tokens, self._echo(index))
        return self._teller.completion(tokens, first.prompt_told(), offsets)

    def _logprobs(self, index: int, output: OutputText, part: slice) -> Json | None:
        """Write the logprobs of the next tokens of a choice; each is to be asked for once."""
        if self._shown.told.logprobs is None:
            return None
        offsets = self._offsets.get(index)
        if offsets is None:
            offsets = self._offsets[index] = Offsets(
                self._tokenizer,
                prompt=output.request.prompt_ids.data,
                first=len(self._echo(index)),
                skip_special_tokens=self._params.skip_special_tokens,
            )
        tokens = output.token_ids[part]
        return self._teller.completion(tokens, output.told[part], offsets.of(tokens))

    def _chunk(self, index: int, text: str, logprobs: Json | None, more: Json) -> str:
        choice = {
            "index": index,
            "text": text,
            "logprobs": logprobs,
            "finish_reason": None,
            **more,
        }
        return f"{self._head}{json.dumps(choice, ensure_ascii=False)}]"

    def _choice(self, index: int, text: str, output: OutputText) -> Json:
        is_cut = self._shown.is_echo_alone
        return {
            "index": index,
            "text": text,
            "logprobs": None,
            "finish_reason": "length" if is_cut else output.finish_reason,
            "stop_reason": None if is_cut else output.stop_reason,
        }


def _joined(first: Json | None, then: Json | None) -> Json | None:
    """Join the logprobs of an echo and of what follows."""
    if first is None or then is None:
        return then
    return {name: [*_list(first[name]), *_list(then[name])] for name in then}


def _list(found: object) -> list[object]:
    assert isinstance(found, list), "each field of a completion's logprobs is a list"
    return found


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
    """Give the text that stands before each prompt's choices, or nothing: it, as it was sent."""
    if not body.echo:
        return []
    decode = served.model.tokenizer.decode
    return [
        given if isinstance(given, str) else decode(ids, skip_special_tokens=False)
        for given, ids in zip(_prompts(body), prompts, strict=True)
    ]
