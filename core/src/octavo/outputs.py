"""A request's output as it becomes text: tokens go in one by one, text comes out when it is sure.

`OutputText` is the running form; `RequestOutput` and `CompletionOutput` are what `LLM` returns
in the end. The same text comes out however the tokens arrive.

Does not know the engine, and does not choose tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from octavo.asking import Model, SamplingParams
from octavo.detokenize import Detokenizer
from octavo.request import FinishReason, Request
from octavo.sampling.parameters import ALL_LOGPROBS
from octavo.step import Logprobs, Scored


@dataclass(frozen=True, slots=True)
class Logprob:
    """How likely a token was by the model alone; of rank 1 is the likeliest.

    `decoded_token` is its text, with a replacement for what is no whole character.
    """

    logprob: float
    rank: int
    decoded_token: str


@dataclass(frozen=True, slots=True)
class CompletionOutput:
    """One output. `stop_reason` is the stop string or the stop token that the caller named.

    `logprobs` are, by id, those of each token and of the likeliest in its place, and
    `cumulative_logprob` is the sum of the tokens' own; None where nobody asked.
    """

    index: int
    text: str
    token_ids: list[int]
    finish_reason: FinishReason | None
    stop_reason: str | int | None
    logprobs: list[dict[int, Logprob]] | None = None
    cumulative_logprob: float | None = None


@dataclass(frozen=True, slots=True)
class RequestOutput:
    """A prompt and what was made of it. `prompt` is None where token ids were given.

    `prompt_logprobs` are as an output's, None for the first token, before which there is none.
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    finished: bool
    num_cached_tokens: int
    prompt_logprobs: list[dict[int, Logprob] | None] | None = None


class OutputText:
    """One request's output while it grows."""

    def __init__(self, model: Model, request: Request, params: SamplingParams) -> None:
        self.request = request
        self.token_ids: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.stop_reason: str | int | None = None
        self._params = params
        self._tokenizer = model.tokenizer
        self.cumulative_logprob = 0.0
        self._told: list[Logprobs] = []
        self._written: list[dict[int, Logprob]] = []
        self._prompt_written: list[dict[int, Logprob] | None] | None = None
        self._scored: dict[int, Scored] = {}
        self._pieces: list[str] = []
        self._whole, self._num_joined = "", 0
        self._given = _NOTHING_GIVEN
        self._detokenizer = Detokenizer(
            model.tokenizer,
            request.prompt_ids.data,
            stop=params.stop_texts,
            include_stop=params.include_stop_str_in_output,
            min_tokens=params.min_tokens,
            skip_special_tokens=params.skip_special_tokens,
        )

    @property
    def text(self) -> str:
        """Give all the text so far. What was joined once is not joined again."""
        count = len(self._pieces)
        if count > self._num_joined:
            self._whole += "".join(self._pieces[self._num_joined : count])
            self._num_joined = count
        return self._whole

    def tell(self, told: Logprobs) -> None:
        """Take how likely the token that comes next is; kept where the client wants to know."""
        if self.finish_reason is None and self._params.logprobs is not None:
            self._told.append(told)
            self.cumulative_logprob += float(told.logprob[0])

    def push(self, token: int, ended: FinishReason | None) -> str:
        """Take the next token and give the text that became sure with it.

        `ended` says that the engine made the last token. Where `finish_reason` is set but the
        engine did not end, a stop string was found, and the request is to be aborted.
        """
        if self.finish_reason is not None:
            return ""
        self.token_ids.append(token)
        detokenizer = self._detokenizer
        text = ""
        is_shown = ended != "stop" or self._params.include_stop_str_in_output
        if is_shown and self._params.detokenize:
            plain = detokenizer.text_of[token] if detokenizer.is_plain else None
            text = detokenizer.push((token,)) if plain is None else plain
        if ended is not None:
            text += detokenizer.finish()
        if detokenizer.stopped_by is not None:
            self.finish_reason, self.stop_reason = "stop", detokenizer.stopped_by
        elif ended is not None:
            self.finish_reason = ended
            if ended == "stop" and token in self._params.stop_token_ids:
                self.stop_reason = token
        if text:
            self._pieces.append(text)
        return text

    def end(self, reason: FinishReason) -> str:
        """End without a further token; give the text that was held back."""
        if self.finish_reason is not None:
            return ""
        self.finish_reason = reason
        text = self._detokenizer.finish()
        if text:
            self._pieces.append(text)
        return text

    def score(self, scored: Scored) -> None:
        """Take how likely a part of the prompt was; the same part again changes nothing."""
        self._scored[scored.first] = scored
        self._prompt_written = None

    @property
    def told(self) -> Sequence[Logprobs]:
        """Give how likely each token was, as far as known; nothing where nobody asked."""
        return self._told

    def prompt_told(self) -> list[Logprobs | None]:
        """Give how likely each token of the prompt was; None for the first, and where unknown."""
        found: list[Logprobs | None] = [None] * self.request.num_prompt_tokens
        for first, scored in self._scored.items():
            for place in range(len(scored.logprobs.logprob)):
                found[first + place] = scored.logprobs[place : place + 1]
        return found

    def prompt_logprobs(self) -> list[dict[int, Logprob] | None] | None:
        """Give how likely the prompt was; None where nobody asked."""
        asked = self._params.prompt_logprobs
        if asked is not None and self._prompt_written is None:
            tokens = self.request.prompt_ids.tolist()
            self._prompt_written = [
                None if told is None else self._logprobs(told, token, asked)
                for told, token in zip(self.prompt_told(), tokens, strict=True)
            ]
        return self._prompt_written

    def _logprobs(self, told: Logprobs, token: int, asked: int) -> dict[int, Logprob]:
        """Write out one token's logprobs: its own, and of as many likeliest ids."""
        count = self._tokenizer.vocab_size if asked == ALL_LOGPROBS else asked
        own = Logprob(float(told.logprob[0]), int(told.rank[0]) + 1, self._text(token))
        likeliest = zip(
            told.top_ids[0, :count].tolist(), told.top_logprobs[0, :count].tolist(), strict=True
        )
        found = {token: own}
        for rank, (each, logprob) in enumerate(likeliest, 1):
            found.setdefault(each, Logprob(logprob, rank, self._text(each)))
        return found

    def _text(self, token: int) -> str:
        return self._tokenizer.token_bytes(token).decode("utf-8", "replace")

    def completion(self, index: int) -> CompletionOutput:
        """Give the output as it stands."""
        return self._completion(index, self.text, _NOTHING_GIVEN)

    def news(self, index: int) -> CompletionOutput:
        """Give what came since this was last asked: its text, its tokens, and their logprobs."""
        given = self._given
        self._given = _Given(len(self._pieces), len(self.token_ids))
        text = "".join(self._pieces[given.num_pieces : self._given.num_pieces])
        return self._completion(index, text, given)

    def _completion(self, index: int, text: str, given: _Given) -> CompletionOutput:
        asked = self._params.logprobs
        logprobs = None
        if asked is not None:
            first = len(self._written)
            news = zip(self._told[first:], self.token_ids[first:], strict=False)
            self._written += [self._logprobs(told, token, asked) for told, token in news]
            logprobs = self._written[given.num_tokens :]
        return CompletionOutput(
            index=index,
            text=text,
            token_ids=self.token_ids[given.num_tokens :],
            finish_reason=self.finish_reason,
            stop_reason=self.stop_reason,
            logprobs=logprobs,
            cumulative_logprob=None if asked is None else self.cumulative_logprob,
        )


@dataclass(frozen=True, slots=True)
class _Given:
    """How much of an output somebody has already."""

    num_pieces: int
    num_tokens: int


_NOTHING_GIVEN = _Given(0, 0)
