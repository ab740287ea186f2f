"""A request's output as it becomes text: tokens go in one by one, text comes out when it is sure.

`OutputText` is the running form; `RequestOutput` and `CompletionOutput` are what `LLM` returns
in the end. The same text comes out however the tokens arrive.

Does not know the engine, and does not choose tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from octavo.asking import Loaded, SamplingParams
from octavo.detokenize import Detokenizer
from octavo.request import FinishReason, Request

PROMPT_TAIL_TOKENS = 16
"""How much of the prompt decides how an output begins: a few tokens make any character whole."""


@dataclass(frozen=True, slots=True)
class CompletionOutput:
    """One output. `stop_reason` is the stop string or the stop token that the caller named."""

    index: int
    text: str
    token_ids: list[int]
    finish_reason: FinishReason | None
    stop_reason: str | int | None


@dataclass(frozen=True, slots=True)
class RequestOutput:
    """A prompt and what was made of it. `prompt` is None where token ids were given."""

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    finished: bool
    num_cached_tokens: int


class OutputText:
    """One request's output while it grows."""

    def __init__(self, model: Loaded, request: Request, params: SamplingParams) -> None:
        self.request = request
        self.token_ids: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.stop_reason: str | int | None = None
        self._params = params
        self._pieces: list[str] = []
        self._detokenizer = Detokenizer(
            model.tokenizer,
            request.prompt_ids[-PROMPT_TAIL_TOKENS:].tolist(),
            stop=params.stop_texts,
            include_stop=params.include_stop_str_in_output,
            skip_special_tokens=params.skip_special_tokens,
        )

    @property
    def text(self) -> str:
        """Give all the text so far."""
        return "".join(self._pieces)

    def push(self, token: int, ended: FinishReason | None) -> str:
        """Take the next token and give the text that became sure with it.

        `ended` says that the engine made the last token. Where `finish_reason` is set but the
        engine did not end, a stop string was found, and the request is to be aborted.
        """
        if self.finish_reason is not None:
            return ""
        self.token_ids.append(token)
        text = ""
        if ended != "stop" or self._params.include_stop_str_in_output:
            text = self._detokenizer.push([token]).text
        if ended is not None:
            text += self._detokenizer.finish()
        if self._detokenizer.stopped_by is not None:
            self.finish_reason, self.stop_reason = "stop", self._detokenizer.stopped_by
        elif ended is not None:
            self.finish_reason = ended
            if ended == "stop" and token in self._params.stop_token_ids:
                self.stop_reason = token
        if text:
            self._pieces.append(text)
        return text

    def completion(self, index: int) -> CompletionOutput:
        """Give the output as it stands."""
        return CompletionOutput(
            index=index,
            text=self.text,
            token_ids=self.token_ids,
            finish_reason=self.finish_reason,
            stop_reason=self.stop_reason,
        )
