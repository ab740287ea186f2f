"""What an OpenAI client may send, as types; everything else is refused by name.

Three kinds of parameters are told apart. Those offered are fields below. Those known but not
offered stand in `NEUTRAL` with the values that change nothing: such a value is dropped, any other
is a 400 that names the parameter. All others are unknown, and a 400 too; nothing is ignored in
silence. `INERT` parameters change no token whatever their value, so they are always taken.

Does not know the engine; the limits checked here are those of the API.
Source: the OpenAI API reference for completions and chat completions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from octavo.asking import SamplingParams
from octavo.errors import ClientError, UnsupportedParameter

INERT = frozenset({"user", "metadata", "safety_identifier", "prompt_cache_key", "request_id"})

NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "top_p": (1, 1.0),
    "top_k": (0, -1),
    "min_p": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "frequency_penalty": (0, 0.0),
    "repetition_penalty": (1, 1.0),
    "length_penalty": (1, 1.0),
    "min_tokens": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "prompt_logprobs": (),
    "allowed_token_ids": (),
    "bad_words": ([],),
    "suffix": ("",),
    "use_beam_search": (False,),
    "spaces_between_special_tokens": (True,),
    "truncate_prompt_tokens": (),
    "response_format": ({"type": "text"},),
    "structured_outputs": (),
    "priority": (0,),
    "cache_salt": (),
    "return_token_ids": (False,),
    "stream_interval": (1,),
    "store": (False,),
    "service_tier": ("auto", "default"),
}

CHAT_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "continue_final_message": (False,),
    "documents": ([],),
    "reasoning_effort": (),
    "include_reasoning": (True,),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "verbosity": (),
    "web_search_options": (),
}

Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=-(2**63), le=2**63 - 1)]
Temperature = Annotated[float, Field(strict=True, ge=0, le=2)]
TokenId = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
StopText = Annotated[str, Field(min_length=1)]
Flag = Annotated[bool, Field(strict=True)]


class Body(BaseModel):
    """A JSON object in which every key is known."""

    model_config = ConfigDict(extra="forbid")


class StreamOptions(Body):
    """What a stream carries besides text."""

    include_usage: Flag = False
    continuous_usage_stats: Literal[False] = False


class GenerationBody(Body):
    """What the two generating routes have in common."""

    model: str | None = None
    max_tokens: Count | None = None
    temperature: Temperature | None = None
    seed: Seed | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=4)] | None = None
    stop_token_ids: list[TokenId] | None = None
    ignore_eos: Flag = False
    include_stop_str_in_output: Flag = False
    skip_special_tokens: Flag = True
    stream: Flag | None = False
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _options_need_a_stream(self) -> GenerationBody:
        if self.stream_options is not None and not self.stream:
            raise ClientError(
                "'stream_options' says how to stream, but 'stream' is not true.",
                param="stream_options",
            )
        return self

    @property
    def wants_usage(self) -> bool:
        """Tell whether the stream ends with a chunk that counts tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def sampling(self, defaults: SamplingParams, *, max_tokens: int | None) -> SamplingParams:
        """Make the sampling settings; the given defaults stand where the body is silent."""
        stop = () if self.stop is None else self.stop
        return SamplingParams(
            temperature=defaults.temperature if self.temperature is None else self.temperature,
            seed=self.seed,
            max_tokens=max_tokens if self.max_tokens is None else self.max_tokens,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            stop_token_ids=tuple(self.stop_token_ids or ()),
            ignore_eos=self.ignore_eos,
            include_stop_str_in_output=self.include_stop_str_in_output,
            skip_special_tokens=self.skip_special_tokens,
        )


class CompletionBody(GenerationBody):
    """The body of POST /v1/completions."""

    prompt: str | list[TokenId] | list[str] | list[list[TokenId]]
    echo: Flag | None = False
    add_special_tokens: Flag = True

    @model_validator(mode="before")
    @classmethod
    def _refuse_by_name(cls, body: object) -> object:
        return without_neutral(body, NEUTRAL)


class TextPart(Body):
    """A part of a message's content. Only text is offered."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One message of a conversation. Further keys reach the chat template as they are."""

    model_config = ConfigDict(extra="allow")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None

    def for_template(self) -> dict[str, object]:
        """Give the message as a template reads it, the text of its parts joined."""
        message = self.model_dump(exclude_none=True)
        if isinstance(self.content, list):
            message["content"] = "".join(part.text for part in self.content)
        message.setdefault("content", "")
        return message


class ChatBody(GenerationBody):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Count | None = None
    add_generation_prompt: Flag = True
    chat_template_kwargs: dict[str, object] | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_by_name(cls, body: object) -> object:
        return without_neutral(body, {**NEUTRAL, **CHAT_NEUTRAL})

    @model_validator(mode="after")
    def _newer_name_wins(self) -> ChatBody:
        if self.max_completion_tokens is not None:
            self.max_tokens = self.max_completion_tokens
        return self


def without_neutral(body: object, neutral: Mapping[str, tuple[object, ...]]) -> object:
    """Drop the known parameters that change nothing.

    Raises: UnsupportedParameter for one of them that would change something.
    """
    if not isinstance(body, dict):
        return body
    kept: dict[object, object] = {}
    for name, value in body.items():
        if name in INERT or (name in neutral and value is None):
            continue
        if name not in neutral:
            kept[name] = value
        elif not any(type(value) is type(same) and value == same for same in neutral[name]):
            raise UnsupportedParameter(name)
    return kept
