"""What a choice tells beside its text: logprobs and token ids, as the two routes write them.

    completions   {"tokens": [...], "token_logprobs": [...], "top_logprobs": [...],
                   "text_offset": [...]}
    chat          {"content": [{"token", "logprob", "bytes", "top_logprobs": [...]}, ...]}
    both          prompt_logprobs: [null, {"id": {"logprob", "rank", "decoded_token"}}, ...]

A part of an output's tokens is written as in the whole, so that a stream's parts joined are what
would have come at once. A token that is no whole character has its bytes for a name, as OpenAI
writes them, so that two of them never look alike.

Does not know requests on their way, or who is told.
Source: the OpenAI API reference for both routes; vLLM's for `prompt_logprobs` and `token_id:`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from octavo.outputs import OutputText
from octavo.sampling.parameters import ALL_LOGPROBS
from octavo.step import Logprobs
from octavo.tokenizer import Tokenizer

Json = dict[str, object]

LEAST_LOGPROB = -9999.0
"""What stands for logprobs below it: JSON has no infinity."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a client asked to be told of each choice. The counts are of likeliest ids.

    `names_ids` writes a token as `token_id:5` rather than as its text.
    """

    logprobs: int | None = None
    prompt_logprobs: int | None = None
    token_ids: bool = False
    names_ids: bool = False

    @property
    def of_output(self) -> bool:
        """Tell whether something is told of an output's tokens."""
        return self.logprobs is not None or self.token_ids


class Teller:
    """Writes what is told of a model's tokens."""

    def __init__(self, tokenizer: Tokenizer, told: Told) -> None:
        self._tokenizer = tokenizer
        self._told = told

    def chat(self, output: OutputText, part: slice) -> Json | None:
        """Write some of an output's logprobs as a chat does."""
        if self._told.logprobs is None:
            return None
        content = []
        for token, told in zip(output.token_ids[part], output.told[part], strict=True):
            likeliest = [self._entry(*each) for each in self._likeliest(told, self._told.logprobs)]
            own = self._entry(token, float(told.logprob[0]))
            content.append({**own, "top_logprobs": likeliest})
        return {"content": content, "refusal": None}

    def completion(
        self, tokens: Sequence[int], told: Sequence[Logprobs | None], offsets: Sequence[int]
    ) -> Json | None:
        """Write logprobs of tokens, which begin at offsets of a text, as completions do."""
        count = self._told.logprobs
        if count is None:
            return None
        own: list[float | None] = []
        top: list[dict[str, float] | None] = []
        for token, each in zip(tokens, told, strict=True):
            if each is None:
                own.append(None)
                top.append(None)
                continue
            logprob = _written(float(each.logprob[0]))
            likeliest = {
                self._name(other, "bytes:"): _written(its)
                for other, its in self._likeliest(each, count)
            }
            likeliest.setdefault(self._name(token, "bytes:"), logprob)
            own.append(logprob)
            top.append(likeliest)
        return {
            "tokens": [self._name(token, "bytes:") for token in tokens],
            "token_logprobs": own,
            "top_logprobs": top,
            "text_offset": list(offsets),
        }

    def prompt(self, first: OutputText) -> Json:
        """Give the fields that tell of a prompt, of which this is the first output."""
        fields: Json = {}
        tokens = first.request.prompt_ids.tolist()
        count = self._told.prompt_logprobs
        if count is not None:
            fields["prompt_logprobs"] = [
                None if told is None else self._ranked(token, told, count)
                for token, told in zip(tokens, first.prompt_told(), strict=True)
            ]
        if self._told.token_ids:
            fields["prompt_token_ids"] = tokens
        return fields

    def ids(self, output: OutputText, part: slice) -> Json:
        """Give the field that has some of an output's token ids."""
        return {"token_ids": output.token_ids[part]} if self._told.token_ids else {}

    def _ranked(self, token: int, told: Logprobs, count: int) -> Json:
        found = {str(token): self._rank(token, float(told.logprob[0]), int(told.rank[0]) + 1)}
        for rank, (other, logprob) in enumerate(self._likeliest(told, count), 1):
            found.setdefault(str(other), self._rank(other, logprob, rank))
        return {**found}

    def _rank(self, token: int, logprob: float, rank: int) -> Json:
        text = self._tokenizer.token_bytes(token).decode("utf-8", "replace")
        return {"logprob": _written(logprob), "rank": rank, "decoded_token": text}

    def _likeliest(self, told: Logprobs, asked: int) -> list[tuple[int, float]]:
        count = self._tokenizer.vocab_size if asked == ALL_LOGPROBS else asked
        ids, logprobs = told.top_ids[0, :count].tolist(), told.top_logprobs[0, :count].tolist()
        return list(zip(ids, logprobs, strict=True))

    def _entry(self, token: int, logprob: float) -> Json:
        return {
            "token": self._name(token, ""),
            "logprob": _written(logprob),
            "bytes": list(self._tokenizer.token_bytes(token)),
        }

    def _name(self, token: int, mark: str) -> str:
        if self._told.names_ids:
            return f"token_id:{token}"
        spelled = self._tokenizer.token_bytes(token)
        try:
            return spelled.decode()
        except UnicodeDecodeError:
            return mark + "".join(f"\\x{byte:02x}" for byte in spelled)


class Offsets:
    """Where tokens that come one after the other begin in their text, in characters.

    A token in the middle of a character begins where the character does. The text is that of
    all tokens, also where a stop string cut the one that is shown.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        prompt: Sequence[int] = (),
        first: int = 0,
        skip_special_tokens: bool = True,
    ) -> None:
        self._stream = tokenizer.stream(skip_special_tokens=skip_special_tokens)
        self._stream.skip(prompt)
        self._at = first

    def of(self, tokens: Sequence[int]) -> list[int]:
        """Give where the next tokens begin."""
        found = []
        for token in tokens:
            found.append(self._at)
            self._at += len(self._stream.feed((token,)))
        return found


def echoed_offsets(tokenizer: Tokenizer, prompt: Sequence[int], text: str) -> list[int]:
    """Give where a prompt's tokens begin in the text that it was sent as.

    What a tokenizer puts before the text begins where the text does.
    """
    whole = tokenizer.decode(prompt, skip_special_tokens=False)
    lead = len(whole) - len(text) if whole.endswith(text) else 0
    offsets = Offsets(tokenizer, skip_special_tokens=False).of(prompt)
    return [min(max(0, offset - lead), len(text)) for offset in offsets]


def _written(logprob: float) -> float:
    return max(logprob, LEAST_LOGPROB)
