"""One HTTP request's generation: its prompts in the engine, their texts, and how they are sent.

The two generating routes differ only in the shape of what they send, which is a `Wire`. Its
chunks are cheap on purpose: all that does not change in a stream is written once, and a token
costs the quoting of its text.

Does not know bodies, or how prompts were made.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from octavo.asking import SamplingParams, make_request
from octavo.outputs import OutputText
from octavo.server.hangup import while_connected
from octavo.server.openai.protocol import GenerationBody
from octavo.server.served import Served
from octavo.server.sse import EventStream, frame

Json = dict[str, object]


class Wire(Protocol):
    """An answer in one dialect: whole, or as chunks, each a line of JSON."""

    def whole(self, generation: Generation) -> Json:
        """Give the answer that is not streamed."""
        ...

    def opening(self, index: int) -> str | None:
        """Give what comes before the text of a choice, if anything does."""
        ...

    def text(self, index: int, text: str) -> str:
        """Give new text of a choice."""
        ...

    def ending(self, index: int, output: OutputText) -> str:
        """Give how a choice ended."""
        ...

    def usage(self, usage: Json) -> str:
        """Give the count of tokens that ends a stream."""
        ...


class Generation:
    """Some prompts on their way through the engine, one choice each."""

    def __init__(
        self,
        served: Served,
        answer_id: str,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
    ) -> None:
        requests = [
            make_request(served.model, f"{answer_id}-{index}", ids, params)
            for index, ids in enumerate(prompts)
        ]
        self.outputs = [OutputText(served.model, request, params) for request in requests]
        self._stream = served.engine.submit(requests)

    async def accepted(self) -> None:
        """Wait until the engine took the prompts and made a first token.

        Raises: what refused a prompt; there is still time for a status.
        """
        await self._stream.ready()

    async def finish(self) -> None:
        """Wait until every choice has ended."""
        async for _ in self._pieces():
            pass

    def close(self) -> None:
        """End what has not ended; harmless at any time."""
        self._stream.close()

    def usage(self) -> Json:
        """Count the tokens, as they are billed."""
        prompt = sum(output.request.num_prompt_tokens for output in self.outputs)
        completion = sum(len(output.token_ids) for output in self.outputs)
        cached = sum(output.request.num_cached_tokens for output in self.outputs)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    async def frames(self, wire: Wire, *, wants_usage: bool) -> AsyncGenerator[bytes, None]:
        """Give the events of a stream, up to and without the closing one."""
        for index in range(len(self.outputs)):
            opening = wire.opening(index)
            if opening is not None:
                yield frame(opening)
        async for pieces in self._pieces():
            for index, text in pieces.items():
                if text:
                    yield frame(wire.text(index, text))
                output = self.outputs[index]
                if output.finish_reason is not None:
                    yield frame(wire.ending(index, output))
        if wants_usage:
            yield frame(wire.usage(self.usage()))

    async def _pieces(self) -> AsyncIterator[dict[int, str]]:
        """Give new text by choice, until every choice has ended."""
        num_open = len(self.outputs)
        while num_open:
            pieces: dict[int, str] = {}
            for index, token, ended in await self._stream.take():
                output = self.outputs[index]
                if output.finish_reason is not None:
                    continue
                pieces[index] = pieces.get(index, "") + output.push(token, ended)
                if output.finish_reason is not None:
                    num_open -= 1
                    if ended is None:
                        self._stream.abort(index)
            yield pieces


async def respond(
    http: Request, body: GenerationBody, generation: Generation, wire: Wire
) -> Response:
    """Answer a client as it asked, whole or streamed, for as long as it is there.

    Raises: what refused a prompt or broke the engine, before anything was sent.
    """
    try:
        if body.stream:
            await while_connected(http, generation.accepted())
            frames = generation.frames(wire, wants_usage=body.wants_usage)
            return EventStream(frames, close=generation.close)
        await while_connected(http, generation.finish())
    except BaseException:
        generation.close()
        raise
    return JSONResponse(wire.whole(generation))


def opened(fields: Json) -> str:
    """Write the beginning of an answer's JSON object, open for further fields."""
    return json.dumps(fields, ensure_ascii=False)[:-1]
