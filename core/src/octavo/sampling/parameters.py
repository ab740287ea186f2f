"""Parameters: what a client may ask of one output's sampling, and the limits of each.

Names and meanings are those of vLLM's `SamplingParams`, so that programs move over as they are.
The differences, each on purpose:

- A value out of its range is refused, never clamped: `logit_bias` beyond 100, for one.
- A temperature between 0 and 0.01 counts as 0.01, in the words that a device gets; the
  parameters keep what was asked.
- `logprobs` is a number: true is refused, rather than taken for 1.
- `seed` -1 is a seed like any other; None lets the engine derive one.
- `top_k`, `top_p` and `min_p` stay as given at temperature 0, where they change nothing.
- `min_tokens` forbids what would end the output; with `ignore_eos` that is `stop_token_ids` alone.
- Bad words arrive here as token ids; who knows the tokenizer turns words into them.
- Ids are checked against the vocabulary when a request is added, not here.

Knows nothing of text, of several outputs to a prompt, or of what a device can do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Protocol

import numpy as np
import numpy.typing as npt

from octavo.errors import ClientError

MAX_TEMPERATURE = 2.0
MAX_PENALTY = 2.0
MAX_BIAS = 100.0
MAX_STOP_TOKENS = 64
MAX_LISTED_IDS = 1024
ALL_LOGPROBS = -1
_MAX_INT = 2**31 - 1


class LogitsProcessor(Protocol):
    """Code of a client's own that changes logits, called on the host once for each token.

    It is called in the order of positions, and again for positions that were computed again.
    """

    def __call__(
        self,
        prompt_ids: npt.NDArray[np.int32],
        output_ids: npt.NDArray[np.int32],
        logits: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float32]:
        """Give the logits to choose by: those given, changed in place, or others.

        Shapes: logits [V]; returns [V].
        """
        ...


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """What a client asks of one output's sampling.

    `temperature` 0 is greedy. `top_k` 0 or -1, `top_p` 1 and `min_p` 0 keep everything; ids of
    equal logits are kept or dropped together. A `repetition_penalty` above 1 makes what prompt
    or output hold unlikelier; the other two count in the output alone. `logit_bias` is added by
    id, and `allowed_token_ids` None allows all. A sequence of `bad_token_ids` is never completed
    in the output. `seed` None lets the engine derive one; `max_tokens` None means up to the
    context's limit; before `min_tokens` nothing ends the output. `ignore_eos` goes on after the
    model's own end tokens; `stop_token_ids` end the output whatever it says. `logprobs` asks for
    that of each chosen token and of as many likeliest ones, -1 for all; `prompt_logprobs`
    likewise for the prompt's tokens but the first, and takes no prefix hits.

    Units: temperature and both counting penalties to 2, those from -2; seed a signed 64-bit
        integer; tokens.
    Raises: ClientError, naming the parameter, its value and the limit.
    """

    temperature: float = 1.0
    seed: int | None = None
    max_tokens: int | None = None
    ignore_eos: bool = False
    stop_token_ids: Sequence[int] = ()
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | None = None
    allowed_token_ids: Sequence[int] | None = None
    bad_token_ids: Sequence[Sequence[int]] = ()
    min_tokens: int = 0
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    logits_processors: Sequence[LogitsProcessor] = ()

    def __post_init__(self) -> None:
        """Check everything, and keep sequences as tuples."""
        for param, holds, wanted in _RULES:
            value = getattr(self, param)
            if not holds(value):
                raise refused(param, value, wanted)
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise refused("min_tokens", self.min_tokens, f"at most max_tokens, {self.max_tokens}")
        for param in ("stop_token_ids", "allowed_token_ids"):
            ids = getattr(self, param)
            if ids is not None:
                object.__setattr__(self, param, tuple(dict.fromkeys(map(int, ids))))
        if self.logit_bias is not None:
            bias = {int(token): float(value) for token, value in self.logit_bias.items()}
            object.__setattr__(self, "logit_bias", bias)
        words = tuple(tuple(map(int, word)) for word in self.bad_token_ids)
        object.__setattr__(self, "bad_token_ids", words)
        object.__setattr__(self, "logits_processors", tuple(self.logits_processors))

    def check_vocabulary(self, vocab_size: int) -> None:
        """Insist that the model has every id that is named. Raises: ClientError."""
        for param, token in self._named_ids():
            if token >= vocab_size:
                raise refused(param, token, f"below the vocabulary's size, {vocab_size}")

    def _named_ids(self) -> Iterator[tuple[str, int]]:
        yield from (("stop_token_ids", token) for token in self.stop_token_ids)
        yield from (("logit_bias", token) for token in self.logit_bias or ())
        yield from (("allowed_token_ids", token) for token in self.allowed_token_ids or ())
        yield from (("bad_token_ids", token) for word in self.bad_token_ids for token in word)


def refused(param: str, value: object, wanted: str) -> ClientError:
    """Give the refusal of a parameter: its value, and what it must be."""
    shown = f"{value!r}"[:80]
    return ClientError(f"The parameter '{param}' is {shown}, but must be {wanted}.", param=param)


def is_legal(param: str, value: object) -> bool:
    """Tell whether a parameter may have a value."""
    return all(holds(value) for name, holds, _ in _RULES if name == param)


def is_real(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    """Tell whether a value is a finite number within limits."""
    return (
        isinstance(value, Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and low <= float(value) <= high
    )


def is_integer(value: object, low: int, high: int = _MAX_INT) -> bool:
    """Tell whether a value is an integer within limits."""
    return (
        isinstance(value, int | np.integer)
        and not isinstance(value, bool)
        and low <= int(value) <= high
    )


def _are_ids(value: object, *, least: int = 0, most: int) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str | bytes)
        and least <= len(value) <= most
        and all(is_integer(token, 0) for token in value)
    )


def _are_words(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str | bytes)
        and all(_are_ids(word, least=1, most=MAX_LISTED_IDS) for word in value)
        and sum(map(len, value)) <= MAX_LISTED_IDS
    )


def _is_bias(value: object) -> bool:
    return value is None or (
        isinstance(value, Mapping)
        and len(value) <= MAX_LISTED_IDS
        and all(is_integer(token, 0) for token in value)
        and all(is_real(each, -MAX_BIAS, MAX_BIAS) for each in value.values())
    )


def _is_count(value: object) -> bool:
    return value is None or is_integer(value, ALL_LOGPROBS)


def _are_callables(value: object) -> bool:
    return isinstance(value, Sequence) and all(callable(each) for each in value)


_COUNT = "an integer from 0, -1 for the whole vocabulary, or left out"
_PENALTY = f"a number from -{MAX_PENALTY:g} to {MAX_PENALTY:g}"
_RULES: tuple[tuple[str, Callable[[object], bool], str], ...] = (
    (
        "temperature",
        lambda value: is_real(value, 0, MAX_TEMPERATURE),
        f"a number from 0 to {MAX_TEMPERATURE:g}",
    ),
    (
        "seed",
        lambda value: value is None or is_integer(value, -(2**63), 2**63 - 1),
        "an integer of 64 bits, or left out",
    ),
    (
        "max_tokens",
        lambda value: value is None or is_integer(value, 1),
        "an integer from 1, or left out",
    ),
    ("ignore_eos", lambda value: isinstance(value, bool), "true or false"),
    (
        "stop_token_ids",
        lambda value: _are_ids(value, most=MAX_STOP_TOKENS),
        f"a list of at most {MAX_STOP_TOKENS} token ids, which are integers from 0",
    ),
    ("top_k", lambda value: is_integer(value, -1), "an integer from 1, or 0 or -1 for all"),
    (
        "top_p",
        lambda value: is_real(value, 0, 1) and value != 0,
        "a number above 0 and at most 1",
    ),
    ("min_p", lambda value: is_real(value, 0, 1), "a number from 0 to 1"),
    (
        "repetition_penalty",
        lambda value: is_real(value, 0) and value != 0,
        "a number above 0",
    ),
    ("presence_penalty", lambda value: is_real(value, -MAX_PENALTY, MAX_PENALTY), _PENALTY),
    ("frequency_penalty", lambda value: is_real(value, -MAX_PENALTY, MAX_PENALTY), _PENALTY),
    (
        "logit_bias",
        _is_bias,
        f"at most {MAX_LISTED_IDS} numbers from -{MAX_BIAS:g} to {MAX_BIAS:g} by token id",
    ),
    (
        "allowed_token_ids",
        lambda value: value is None or _are_ids(value, least=1, most=_MAX_INT),
        "a list of token ids with at least one, or left out",
    ),
    (
        "bad_token_ids",
        _are_words,
        f"lists of token ids, none of them empty, of {MAX_LISTED_IDS} ids in all at most",
    ),
    ("min_tokens", lambda value: is_integer(value, 0), "an integer from 0"),
    ("logprobs", _is_count, _COUNT),
    ("prompt_logprobs", _is_count, _COUNT),
    ("logits_processors", _are_callables, "a list of callables"),
)
