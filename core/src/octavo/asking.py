"""What a caller asks for, turned into what the heart runs.

`SamplingParams` adds to the heart's own sampling what only text knows: stop strings and special
tokens. The functions make token ids of prompts and conversations, and a `Request` of those.
`Model` names what every face needs of a model, and `Loaded` what a face does that runs it.

Does not know who asks: HTTP, Python and terminal come through here alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict, Unpack, get_args

from octavo import sampling
from octavo.engine import Engine
from octavo.errors import ClientError
from octavo.request import Request
from octavo.sampling.parameters import is_integer, is_legal, refused
from octavo.tokenizer import Tokenizer
from octavo_platforms.inputs import Ints

if TYPE_CHECKING:  # plain prompts need no template engine
    from octavo.chat.template import ChatTemplate

DEFAULT_OUTPUT_TOKENS = 16
MAX_OUTPUTS = 16384

OutputKind = Literal["cumulative", "delta", "final_only"]


@dataclass(frozen=True, slots=True)
class SamplingParams(sampling.SamplingParams):
    """How to choose outputs' tokens, how many outputs, where each ends, and how it reads.

    `temperature` 0 is greedy; `seed` None lets the engine choose one; `max_tokens` None means up
    to the context's limit. An output ends before a `stop` string, and before the text of a stop
    token, or after it with `include_stop_str_in_output`; `min_tokens` is of stop strings too. No
    output completes one of the `bad_words`, with or without a space before it. Without
    `detokenize` an output is token ids alone.

    A prompt has `n` outputs, the i-th with the seed plus i. With `best_of` so many are made, and
    the n whose tokens are likeliest on average are given, the best first; they are ranked by the
    model's own logprobs, before temperature, penalties or any cut.

    Where outputs are given while they grow, `output_kind` says what is given each time: all so
    far ("cumulative"), what is new ("delta"), or nothing before the end ("final_only").

    Raises: ClientError, naming the parameter that is out of its range.
    """

    max_tokens: int | None = DEFAULT_OUTPUT_TOKENS
    stop: str | Sequence[str] = ()
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True
    detokenize: bool = True
    bad_words: Sequence[str] = ()
    n: int = 1
    best_of: int | None = None
    output_kind: OutputKind = "cumulative"

    def __post_init__(self) -> None:
        """Check what the heart does not know, too."""
        sampling.SamplingParams.__post_init__(self)
        self._check_outputs()
        given = (self.stop,) if isinstance(self.stop, str) else self.stop
        stops = tuple(given) if isinstance(given, Sequence) else (given,)
        if not all(isinstance(stop, str) and stop for stop in stops):
            raise ClientError(
                "The parameter 'stop' must be a text or a list of texts, none of them empty.",
                param="stop",
            )
        object.__setattr__(self, "stop", stops)
        if stops and not self.detokenize:
            raise refused("stop", self.stop, "left out where 'detokenize' is false")
        is_list = isinstance(self.bad_words, Sequence) and not isinstance(self.bad_words, str)
        if not is_list or not all(isinstance(word, str) and word for word in self.bad_words):
            raise refused("bad_words", self.bad_words, "a list of texts, none of them empty")
        object.__setattr__(self, "bad_words", tuple(self.bad_words))

    @property
    def num_outputs(self) -> int:
        """Give how many outputs are made, some of which may not be given."""
        return self.best_of or self.n

    def _check_outputs(self) -> None:
        if self.output_kind not in get_args(OutputKind):
            raise refused("output_kind", self.output_kind, f"one of {get_args(OutputKind)}")
        if not is_integer(self.n, 1, MAX_OUTPUTS):
            raise refused("n", self.n, f"an integer from 1 to {MAX_OUTPUTS}")
        if self.best_of is not None and not is_integer(self.best_of, self.n, MAX_OUTPUTS):
            raise refused(
                "best_of",
                self.best_of,
                f"an integer from n = {self.n} to {MAX_OUTPUTS}, or left out",
            )
        if self.num_outputs > 1 and self.temperature == 0:
            param = "n" if self.best_of is None else "best_of"
            raise refused(
                param, self.num_outputs, "1 at temperature 0, where all outputs would be one"
            )

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """Give the stop strings as a tuple, however they were given."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


class Model(Protocol):
    """A model as those see it who ask it something, wherever it runs."""

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


class Loaded(Model, Protocol):
    """A model that is ready to run in this process."""

    @property
    def engine(self) -> Engine:
        """Give the engine; one thread at a time may use it."""
        ...

    @property
    def source(self) -> str:
        """Give the path under which its tokenizer can be found again."""
        ...

    @property
    def plan(self) -> object:
        """Give what runs where, which `str` writes for people."""
        ...


def default_sampling(generation: Mapping[str, object]) -> SamplingParams:
    """Make the defaults that a checkpoint's generation config asks for.

    What it says that is no legal value here is left out.

    Source: the `generation_config.json` of Hugging Face checkpoints.
    """

    def given(name: str, default: float) -> float:
        value = generation.get(name)
        return value if isinstance(value, int | float) and is_legal(name, value) else default

    return SamplingParams(
        temperature=given("temperature", 1.0),
        top_k=int(given("top_k", 0)),
        top_p=given("top_p", 1.0),
        min_p=given("min_p", 0.0),
        repetition_penalty=given("repetition_penalty", 1.0),
    )


def prompt_ids(
    model: Model, prompt: str | Sequence[int], *, add_special_tokens: bool = True
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


class Conversing(TypedDict, total=False):
    """How a conversation becomes text, for those who want it otherwise than usual.

    `chat_template` names one of the model's, or is another. The template is told of `tools`,
    `documents`, `reasoning_effort` and `chat_template_kwargs`, such as `enable_thinking`; of the
    last it takes what it knows. By default the model's next message is begun; with
    `continue_final_message`, and without `add_generation_prompt`, its last one goes on.
    """

    chat_template: str | None
    add_generation_prompt: bool
    continue_final_message: bool
    tools: Sequence[Mapping[str, object]] | None
    documents: Sequence[Mapping[str, object]] | None
    reasoning_effort: str | None
    chat_template_kwargs: Mapping[str, object] | None


def conversation_ids(
    model: Model,
    messages: Sequence[Mapping[str, object]],
    *,
    add_special_tokens: bool = False,
    **how: Unpack[Conversing],
) -> list[int]:
    """Turn a conversation into token ids, as a chat template writes it.

    Messages may be as clients of the OpenAI API write them. `add_special_tokens` are those around
    a text, which templates mostly write themselves.

    Raises: ClientError where the model has no template, or the template refuses, or does not read
        tools, documents or a `reasoning_effort` that there are.
    """
    chat, name = _chat_by(model, how.get("chat_template"))
    tools, documents = how.get("tools"), how.get("documents")
    effort = how.get("reasoning_effort")
    given = {"tools": tools, "documents": documents, "reasoning_effort": effort}
    for variable, value in given.items():
        if value and not chat.reads(variable, tools=tools, name=name):
            raise ClientError(
                f"The chat template does not read '{variable}', so it would change nothing. Leave "
                "it out, or use another template.",
                param=variable,
            )
    extra = how.get("chat_template_kwargs") or {}
    text = chat.render(
        chat.fitted(messages, tools=tools, name=name),
        add_generation_prompt=how.get("add_generation_prompt", True),
        continue_final_message=how.get("continue_final_message", False),
        tools=tools,
        documents=documents,
        name=name,
        extra=extra if effort is None else {"reasoning_effort": effort, **extra},
    )
    return model.tokenizer.encode(text, add_special_tokens=add_special_tokens)


def _chat_by(model: Model, template: str | None) -> tuple[ChatTemplate, str | None]:
    """Find the template, and its name if it is one of the model's several."""
    chat = model.chat
    if chat is not None and (template is None or template in chat.names):
        return chat, template
    if template is None:
        raise ClientError(
            f"The model '{model.model_name}' has no chat template, so it cannot hold a "
            "conversation. Send plain prompts instead: /v1/completions, or LLM.generate.",
            param="messages",
        )
    if chat is None:
        from octavo.chat.template import ChatTemplate

        chat = ChatTemplate("", model.tokenizer.special_tokens)
    return chat.other(template), None


def make_request(
    model: Model,
    request_id: str,
    ids: Sequence[int] | Ints,
    params: SamplingParams,
    *,
    cache_salt: str = "",
    priority: int = 0,
) -> Request:
    """Make the heart's request of a prompt, for one output."""
    if params.bad_words:
        words = _bad_token_ids(model.tokenizer, params.bad_words)
        params = replace(params, bad_token_ids=(*params.bad_token_ids, *words))
    return Request(
        request_id,
        ids,
        params,
        eos_ids=model.eos_ids,
        cache_salt=cache_salt,
        priority=priority,
    )


def _bad_token_ids(tokenizer: Tokenizer, words: Sequence[str]) -> list[list[int]]:
    """Give the tokens of words, at the beginning of a text and behind a space."""
    found: list[list[int]] = []
    for word in words:
        for text in dict.fromkeys((word.lstrip(), f" {word.lstrip()}")):
            ids = tokenizer.encode(text, add_special_tokens=False)
            if not ids:
                raise refused("bad_words", word, "texts of at least one token")
            if ids not in found:
                found.append(ids)
    return found
