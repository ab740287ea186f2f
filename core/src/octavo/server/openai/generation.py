"""One HTTP request's generation: its prompts in the engine, their texts, and how they are sent.

The two generating routes differ only in the shape of what they send, which is a `Wire`. Its
chunks are cheap on purpose: all that does not change in a stream is written once, and a token
costs the quoting of its text. Only where a client asked for more than text is a chunk told.

Does not know bodies, or how prompts were made.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from octavo.asking import SamplingParams
from octavo.errors import ClientError, InternalError
from octavo.outputs import OutputText
from octavo.process.stream import Piece
from octavo.prompts import ask_ids
from octavo.server.hangup import while_connected
from octavo.server.openai.protocol import MAX_CHOICES, GenerationBody
from octavo.server.openai.telling import Json
from octavo.server.served import Served
from octavo.server.sse import EventStream, frame


class Wire(Protocol):
    """An answer in one dialect: whole, or as chunks, each a line of JSON but for its end.

    A choice has the number `index` in the answer, and `output` is what it shows.
    """

    def whole(self, generation: Generation) -> Json:
        """Give the answer that is not streamed."""
        ...

    def opening(self, index: int, first: OutputText) -> str | None:
        """Give what comes before the text of a choice, if anything does.

        `first` is the first output of its prompt, which knows of the prompt.
        """
        ...

    def text(self, index: int, text: str) -> str:
        """Give new text of a choice."""
        ...

    def told(self, index: int, output: OutputText, text: str, part: slice) -> str:
        """Give new text of a choice, and what is told of the tokens that came with it."""
        ...

    def ending(self, index: int, output: OutputText) -> str:
        """Give how a choice ended."""
        ...

    def usage(self, usage: Json) -> str:
        """Give the count of tokens that ends a stream, as a whole line."""
        ...


class Generation:
    """Some prompts on their way through the engine, with the choices that are made of each.

    Raises: ClientError, for what cannot be asked; LaterError, where the engine has enough to do.
    """

    def __init__(
        self,
        served: Served,
        answer_id: str,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        body: GenerationBody,
        *,
        is_echo_alone: bool = False,
    ) -> None:
        check_choices(served, len(prompts), params)
        self._asked = [
            ask_ids(
                served.model,
                f"{answer_id}-{index}",
                ids,
                params,
                cache_salt=body.cache_salt or "",
                priority=body.priority or 0,
            )
            for index, ids in enumerate(prompts)
        ]
        self._body = body
        self._is_echo_alone = is_echo_alone
        self._outputs = [output for asked in self._asked for output in asked.outputs]
        self._stream = served.engine.submit(self._outputs)

    async def accepted(self) -> None:
        """Wait until the engine took the prompts and made a first token.

        Raises: what refused a prompt, or that no token could be made; there is still time for a
            status.
        """
        await self._stream.ready()
        for output in self._outputs:
            if not output.token_ids:
                check_end(output)

    async def finish(self) -> None:
        """Wait until every choice has ended.

        Raises: what broke one of them.
        """
        while self._stream.is_open:
            for piece in await self._stream.take():
                if piece.is_last:
                    check_end(self._outputs[piece.index])

    def close(self) -> None:
        """End what has not ended; harmless at any time."""
        self._stream.close()

    def choices(self) -> list[OutputText]:
        """Give what is shown of each prompt, one prompt after the other."""
        return [output for asked in self._asked for output in asked.given()]

    def firsts(self) -> list[OutputText]:
        """Give the first output that was made of each prompt, which knows of the prompt."""
        return [asked.outputs[0] for asked in self._asked]

    def usage(self) -> Json:
        """Count the tokens, as they are billed: all that were made, shown or not."""
        made = 0 if self._is_echo_alone else sum(len(each.token_ids) for each in self._outputs)
        return {
            **self._usage(made),
            "prompt_tokens_details": {
                "cached_tokens": sum(first.request.num_cached_tokens for first in self.firsts())
            },
        }

    async def frames(self, wire: Wire) -> AsyncGenerator[bytes, None]:
        """Give the events of a stream, up to and without the closing one."""
        body, outputs = self._body, self._outputs
        firsts = [asked.outputs[0] for asked in self._asked for _ in asked.outputs]
        is_told, counts_always = body.told.of_output, body.counts_always
        unopened = set(range(len(outputs)))
        sent = [0] * len(outputs)
        tail = ', "usage": null}' if body.wants_usage else "}"
        with in_words_of(body):
            while self._stream.is_open:
                for piece in _joined(await self._stream.take()):
                    index, output = piece.index, outputs[piece.index]
                    if self._is_echo_alone:
                        piece = replace(piece, text="", num_tokens=0)
                    if unopened and index in unopened:
                        unopened.remove(index)
                        opening = wire.opening(index, firsts[index])
                        if opening is not None:
                            yield frame(opening + (self._counting(sent) or tail))
                    first, sent[index] = sent[index], sent[index] + piece.num_tokens
                    if counts_always:
                        tail = self._counting(sent)
                    if is_told and (piece.text or piece.num_tokens):
                        part = slice(first, sent[index])
                        yield frame(wire.told(index, output, piece.text, part) + tail)
                    elif piece.text:
                        yield frame(wire.text(index, piece.text) + tail)
                    if piece.is_last:
                        check_end(output)
                        yield frame(wire.ending(index, output) + tail)
        if body.wants_usage:
            yield frame(wire.usage(self.usage()))

    def _counting(self, sent: Sequence[int]) -> str:
        """Give the end of a chunk that counts tokens, nothing where that was not asked for."""
        if not self._body.counts_always:
            return ""
        return f', "usage": {json.dumps(self._usage(sum(sent)))}}}'

    def _usage(self, completion: int) -> Json:
        prompt = sum(first.request.num_prompt_tokens for first in self.firsts())
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }


async def respond(http: Request, generation: Generation, wire: Wire, *, stream: bool) -> Response:
    """Answer a client as it asked, whole or streamed, for as long as it is there.

    Raises: what refused a prompt or broke the engine, before anything was sent.
    """
    try:
        if stream:
            await while_connected(http, generation.accepted())
            return EventStream(generation.frames(wire), close=generation.close)
        await while_connected(http, generation.finish())
    except BaseException:
        generation.close()
        raise
    return JSONResponse(wire.whole(generation))


def check_choices(served: Served, num_prompts: int, params: SamplingParams) -> None:
    """Refuse early what the engine would not take, before prompts become tokens.

    Raises: ClientError, LaterError.
    """
    count = num_prompts * params.num_outputs
    if count > MAX_CHOICES:
        raise ClientError(
            f"{num_prompts} prompts with {params.num_outputs} outputs each are {count} outputs, "
            f"but a request may have {MAX_CHOICES}. Send several requests.",
            param="n" if params.best_of is None else "best_of",
        )
    served.engine.check_admission(count)


def check_end(output: OutputText) -> None:
    """Check that an output did not end in an error; a client must not take it for an answer.

    Raises: InternalError.
    """
    if output.finish_reason == "error":
        raise InternalError(
            f"After {len(output.token_ids)} tokens the model gave no number that a token could be "
            "chosen by, so this request was ended. Send it again; where that fails too, the model "
            "or its quantisation cannot compute it."
        )


@contextmanager
def in_words_of(body: GenerationBody) -> Iterator[None]:
    """Let what is refused within be named as the client named it."""
    try:
        yield
    except ClientError as refusal:
        name = body.names.get(refusal.param or "")
        if name is None:
            raise
        message = str(refusal).replace(f"'{refusal.param}'", f"'{name}'")
        renamed = ClientError(message, param=name)
        renamed.status, renamed.kind, renamed.code = refusal.status, refusal.kind, refusal.code
        raise renamed from refusal


def _joined(pieces: Sequence[Piece]) -> Sequence[Piece]:
    """Join what came together for one choice, so that it is sent as one chunk."""
    if len(pieces) == 1:
        return pieces
    joined: dict[int, Piece] = {}
    for piece in pieces:
        before = joined.get(piece.index)
        if before is not None:
            text, count = before.text + piece.text, before.num_tokens + piece.num_tokens
            piece = replace(piece, text=text, num_tokens=count)
        joined[piece.index] = piece
    return list(joined.values())


def opened(fields: Mapping[str, object]) -> str:
    """Write the beginning of an answer's JSON object, open for further fields."""
    return json.dumps(fields, ensure_ascii=False)[:-1]
