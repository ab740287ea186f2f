"""What a caller asks for, turned into what the heart runs.

`SamplingParams` adds to the heart's own sampling what only text knows: stop strings and special
tokens. The functions make token ids of prompts and conversations, and a `Request` of those.
`Loaded` names what every face needs of a model that is ready to run.

Does not know who asks: HTTP, Python and terminal come through here alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from octavo import sampling
from octavo.engine import Engine
from octavo.errors import ClientError
from octavo.request import Request
from octavo.tokenizer import Tokenizer

if TYPE_CHECKING:  # plain prompts need no template engine
    from octavo.chat.template import ChatTemplate

DEFAULT_OUTPUT_TOKENS = 16


@dataclass(frozen=True, slots=True)
class SamplingParams(sampling.SamplingParams):
    """How to choose an output's tokens, where it ends, and how it reads.

    `temperature` 0 is greedy; `seed` None lets the engine choose one; `max_tokens` None means up
    to the context's limit. An output ends before a `stop` string, and before the text of a stop
    token, or after it with `include_stop_str_in_output`.

    Raises: ClientError, naming the parameter that is out of its range.
    """

    max_tokens: int | None = DEFAULT_OUTPUT_TOKENS
    stop: str | Sequence[str] = ()
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True

    def __post_init__(self) -> None:
        sampling.SamplingParams.__post_init__(self)
        given = (self.stop,) if isinstance(self.stop, str) else self.stop
        stops = tuple(given) if isinstance(given, Sequence) else (given,)
        if not all(isinstance(stop, str) and stop for stop in stops):
            raise ClientError(
                "The parameter 'stop' must be a text or a list of texts, none of them empty.",
                param="stop",
            )
        object.__setattr__(self, "stop", stops)

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """Give the stop strings as a tuple, however they were given."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


class Loaded(Protocol):
    """A model that is ready to run, as the faces see it."""

    @property
    def engine(self) -> Engine:
        """Give the engine; one thread at a time may use it."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """Give what turns text into tokens and back."""
        ...

    @property
    def chat(self) -> ChatTemplate | None:
        """Give what turns a conversation into text, None where the model has no such thing."""
        ...

    @property
    def model_name(self) -> str:
        """Give the name under which the model is served."""
        ...

    @property
    def max_context_tokens(self) -> int:
        """Give the longest context, prompt and output together."""
        ...

    @property
    def eos_ids(self) -> Collection[int]:
        """Give the tokens with which the model itself ends an output."""
        ...

    @property
    def default_sampling(self) -> SamplingParams:
        """Give the sampling for those who ask for none."""
        ...


def default_sampling(generation: Mapping[str, object]) -> SamplingParams:
    """Make the defaults that a checkpoint's generation config asks for.

    Source: the `generation_config.json` of Hugging Face checkpoints.
    """
    temperature = generation.get("temperature")
    if isinstance(temperature, int | float) and 0 <= temperature <= sampling.MAX_TEMPERATURE:
        return SamplingParams(temperature=float(temperature))
    return SamplingParams()


def prompt_ids(
    model: Loaded, prompt: str | Sequence[int], *, add_special_tokens: bool = True
) -> list[int]:
    """Turn a prompt, text or token ids, into token ids that the model has.

    Raises: ClientError for an id outside the vocabulary.
    """
    if isinstance(prompt, str):
        return model.tokenizer.encode(prompt, add_special_tokens=add_special_tokens)
    limit = model.tokenizer.vocab_size
    for token in prompt:
        if not 0 <= token < limit:
            raise ClientError(
                f"The prompt has the token id {token}, but the vocabulary has {limit} tokens.",
                param="prompt",
            )
    return list(prompt)


def conversation_ids(
    model: Loaded,
    messages: Sequence[Mapping[str, object]],
    *,
    add_generation_prompt: bool = True,
    extra: Mapping[str, object] | None = None,
) -> list[int]:
    """Turn a conversation into token ids, as the model's chat template writes it.

    Raises: ClientError where the model has no template, or the template refuses.
    """
    if model.chat is None:
        raise ClientError(
            f"The model '{model.model_name}' has no chat template, so it cannot hold a "
            "conversation. Send plain prompts instead: /v1/completions, or LLM.generate.",
            param="messages",
        )
    text = model.chat.render(
        messages, add_generation_prompt=add_generation_prompt, extra={} if extra is None else extra
    )
    return model.tokenizer.encode(text, add_special_tokens=False)


def make_request(
    model: Loaded, request_id: str, ids: Sequence[int], params: SamplingParams
) -> Request:
    """Make the heart's request of a prompt."""
    return Request(request_id, ids, params, eos_ids=model.eos_ids)
