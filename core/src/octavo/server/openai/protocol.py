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
from dataclasses import fields, replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from octavo.asking import SamplingParams
from octavo.errors import ClientError, UnsupportedParameter
from octavo.sampling.parameters import ALL_LOGPROBS
from octavo.server.openai.telling import Told

SAMPLED = frozenset(field.name for field in fields(SamplingParams)) - {"logprobs"}
NOT_YET = "it is not supported yet"

INERT = frozenset({"user", "metadata", "safety_identifier", "prompt_cache_key", "request_id"})

NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "length_penalty": (1, 1.0),
    "suffix": ("",),
    "use_beam_search": (False,),
    "spaces_between_special_tokens": (True,),
    "truncate_prompt_tokens": (),
    "prompt_embeds": (),
    "logprob_token_ids": (),
    "thinking_token_budget": (),
    "repetition_detection": (),
    "response_format": ({"type": "text"},),
    "structured_outputs": (),
    "return_token_offsets": (False,),
    "kv_transfer_params": (),
    "vllm_xargs": ({},),
    "stream_interval": (1,),
    "store": (False,),
    "service_tier": ("auto", "default"),
}

CHAT_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "functions": ([],),
    "function_call": ("none", "auto"),
    "include_reasoning": (True,),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "verbosity": (),
    "web_search_options": (),
    "echo": (False,),
    "return_prompt_text": (False,),
    "media_io_kwargs": (),
    "mm_processor_kwargs": (),
}

WHY: Mapping[str, str] = {
    "suffix": "models here continue a prompt, and fill no gaps; write the gap as the model's own "
    "template for that says, in 'prompt'",
}
"""Why some of them are not offered, in words."""

MAX_CHOICES = 16384

Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1)]
Logprobs = Annotated[int, Field(strict=True, ge=ALL_LOGPROBS)]
Priority = Annotated[int, Field(strict=True, ge=-(2**63), le=2**63 - 1)]
TokenId = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
StopText = Annotated[str, Field(min_length=1)]
Salt = Annotated[str, Field(min_length=1, max_length=1024)]
Flag = Annotated[bool, Field(strict=True)]


class Body(BaseModel):
    """A JSON object in which every key is known."""

    model_config = ConfigDict(extra="forbid")


class StreamOptions(Body):
    """What a stream carries besides text."""

    include_usage: Flag = False
    continuous_usage_stats: Flag = False


class GenerationBody(Body):
    """What the two generating routes have in common.

    Parameters of sampling have their names and limits in `SamplingParams`; here are their types.
    """

    model: str | None = None
    max_tokens: Whole | None = None
    min_tokens: Whole | None = None
    temperature: Number | None = None
    top_k: Whole | None = None
    top_p: Number | None = None
    min_p: Number | None = None
    repetition_penalty: Number | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    logit_bias: dict[int, Number] | None = None
    allowed_token_ids: list[TokenId] | None = None
    bad_words: list[str] | None = None
    seed: Whole | None = None
    n: Whole | None = None
    best_of: Whole | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=4)] | None = None
    stop_token_ids: list[TokenId] | None = None
    ignore_eos: Flag | None = None
    include_stop_str_in_output: Flag | None = None
    skip_special_tokens: Flag | None = None
    detokenize: Flag | None = None
    prompt_logprobs: Logprobs | None = None
    return_token_ids: Flag | None = None
    return_tokens_as_token_ids: Flag | None = None
    cache_salt: Salt | None = None
    priority: Priority | None = None
    stream: Flag | None = False
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _agree_on_streaming(self) -> GenerationBody:
        if self.stream_options is not None and not self.stream:
            raise ClientError(
                "'stream_options' says how to stream, but 'stream' is not true.",
                param="stream_options",
            )
        if self.stream and self.prompt_logprobs is not None:
            raise ClientError(
                "'prompt_logprobs' come with a whole answer, but 'stream' is true.",
                param="prompt_logprobs",
            )
        if self.stream and self.best_of is not None and self.best_of > 1:
            raise ClientError(
                "'best_of' outputs are compared when they have ended, but 'stream' is true.",
                param="best_of",
            )
        return self

    @property
    def wants_usage(self) -> bool:
        """Tell whether the stream ends with a chunk that counts tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def counts_always(self) -> bool:
        """Tell whether each chunk of the stream counts tokens."""
        return self.stream_options is not None and self.stream_options.continuous_usage_stats

    @property
    def num_logprobs(self) -> int | None:
        """Give how many likeliest ids are told of each token, None for no logprobs at all."""
        return None

    @property
    def told(self) -> Told:
        """Give what is told beside the text."""
        return Told(
            logprobs=self.num_logprobs,
            prompt_logprobs=self.prompt_logprobs,
            token_ids=bool(self.return_token_ids),
            names_ids=bool(self.return_tokens_as_token_ids),
        )

    @property
    def names(self) -> Mapping[str, str]:
        """Give how the client knows what is refused under another name."""
        known = {"bad_token_ids": "bad_words"}
        if self.best_of is not None and self.num_logprobs is None:
            known["logprobs"] = "best_of"
        return known

    def sampling(self, defaults: SamplingParams, *, max_tokens: int | None) -> SamplingParams:
        """Make the sampling settings; the given defaults stand where the body is silent.

        Raises: ClientError, naming the parameter that is out of its range.
        """
        given = {
            name: value
            for name in self.model_fields_set & SAMPLED
            if (value := getattr(self, name)) is not None
        }
        if self.best_of == 1 == (self.n or 1):
            del given["best_of"]
        given["logprobs"] = self.num_logprobs
        return replace(defaults, **{"max_tokens": max_tokens, **given})


class CompletionBody(GenerationBody):
    """The body of POST /v1/completions. `max_tokens` 0 gives an echo alone."""

    prompt: str | list[TokenId] | list[str] | list[list[TokenId]]
    logprobs: Logprobs | None = None
    echo: Flag | None = False
    add_special_tokens: Flag = True

    @model_validator(mode="before")
    @classmethod
    def _refuse_by_name(cls, body: object) -> object:
        return without_neutral(body, NEUTRAL)

    @property
    def num_logprobs(self) -> int | None:
        """Give how many likeliest ids are told of each token, None for no logprobs at all."""
        return self.logprobs

    @property
    def names(self) -> Mapping[str, str]:
        """Give how the client knows what is refused under another name."""
        is_own = self.prompt_logprobs is not None
        return super().names if is_own else {**super().names, "prompt_logprobs": "logprobs"}

    @property
    def is_echo_alone(self) -> bool:
        """Tell whether nothing but the prompt is wanted back."""
        return bool(self.echo) and self.max_tokens == 0

    def sampling(self, defaults: SamplingParams, *, max_tokens: int | None) -> SamplingParams:
        """Make the sampling settings; an echo's logprobs are those of its prompt, too."""
        asked = self.model_copy(update={"max_tokens": 1}) if self.is_echo_alone else self
        params = GenerationBody.sampling(asked, defaults, max_tokens=max_tokens)
        counts = [each for each in (self.prompt_logprobs, self.logprobs) if each is not None]
        if not self.echo or self.logprobs is None:
            return params
        widest = ALL_LOGPROBS if ALL_LOGPROBS in counts else max(counts)
        return replace(params, prompt_logprobs=widest)


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
            raise UnsupportedParameter(name, why=WHY.get(name, NOT_YET))
    return kept
