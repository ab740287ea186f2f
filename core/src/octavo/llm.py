"""The offline face: a model in this process, from prompts to texts.

    LLM("./model").generate(["Once upon a time"], SamplingParams(temperature=0))

All prompts go to the engine at once and are batched there; results come back in the order of the
prompts. Needs neither the server nor what it is made of.

Does not know HTTP, threads or the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias, Unpack

from octavo.asking import Conversing, Loaded, SamplingParams, conversation_ids, prompt_ids
from octavo.beams import BeamSearchParams, beam_search
from octavo.errors import ClientError
from octavo.forks import Forks
from octavo.outputs import OutputText, RequestOutput
from octavo.progress import Progress
from octavo.prompts import Asked, Prompt, ask, text_of, text_or_ids
from octavo.request import RequestId
from octavo.sampling.parameters import refused
from octavo.vectors import (
    ClassificationRequestOutput,
    EmbeddingRequestOutput,
    PooledModel,
    PoolingParams,
    ScoringRequestOutput,
)
from octavo.wishes import Wishes, settings_of

Message: TypeAlias = Mapping[str, object]


class LLM:
    """A model, ready to generate; or an encoder, ready to embed, classify or score."""

    def __init__(
        self,
        model: str | Loaded | PooledModel | None = None,
        *,
        report: Callable[[str], None] | None = None,
        **wishes: Unpack[Wishes],
    ) -> None:
        """Load a model, or take one that is loaded; without one, load a small demo model.

        `report` hears each stage of loading.

        Raises: OperatorError, saying what does not exist, is not supported or does not fit.
        """
        self._num_asked = 0
        if model is None or isinstance(model, str):
            from octavo.loading import load_any

            settings = settings_of(model, **wishes)
            model = load_any(settings, report=_silent if report is None else report)
        self._pooled = model if isinstance(model, PooledModel) else None
        self._generating = None if isinstance(model, PooledModel) else model
        if self._generating is not None:
            self._forks = Forks(self._generating.engine)

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = True,
    ) -> list[RequestOutput]:
        """Continue prompts: one or several, each a text, token ids or a mapping.

        A mapping has a text as `prompt`, or ids as `prompt_token_ids`; and it may have a
        `cache_salt`: what is remembered of such prompts is shared where the salt is equal.

        Raises: ClientError for a prompt or a parameter that cannot be used; then nothing runs.
        """
        given = _several(prompts)
        params = _one_each(sampling_params, len(given), self._model.default_sampling)
        asked = [self._asked(prompt, each) for prompt, each in zip(given, params, strict=True)]
        return self._run(asked, use_tqdm=use_tqdm)

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = True,
        **how: Unpack[Conversing],
    ) -> list[RequestOutput]:
        """Answer one conversation, or several at once; by default up to the context's limit.

        How they become text is `Conversing`'s to say.

        Raises: ClientError where the model has no chat template, or the template refuses.
        """
        ids = [conversation_ids(self._model, each, **how) for each in _conversations(messages)]
        params = _one_each(sampling_params, len(ids), self._chat_sampling())
        asked = [self._asked(prompt, each) for prompt, each in zip(ids, params, strict=True)]
        return self._run(asked, use_tqdm=use_tqdm)

    def beam_search(
        self, prompts: Prompt | Sequence[Prompt], params: BeamSearchParams
    ) -> list[RequestOutput]:
        """Find each prompt's likeliest outputs, as `beams` says, the best first.

        Raises: ClientError for a prompt that cannot be used, or more beams than logprobs are told.
        """
        given = _several(prompts)
        ids = [prompt_ids(self._model, text_or_ids(prompt)) for prompt in given]
        self._num_asked += 1
        found = beam_search(self._model, f"beams{self._num_asked}", ids, params)
        return [
            replace(each, prompt=text_of(prompt)) for each, prompt in zip(found, given, strict=True)
        ]

    def embed(
        self,
        prompts: Prompt | Sequence[Prompt],
        *,
        pooling_params: PoolingParams | None = None,
        use_tqdm: bool = True,
    ) -> list[EmbeddingRequestOutput]:
        """Give the vector of each prompt: one or several, each a text, token ids or a mapping.

        Raises: ClientError for a prompt that cannot be used, or a model that has no vectors.
        """
        params = pooling_params or PoolingParams()
        return self._encoder("embed").embed(_several(prompts), params, use_tqdm=use_tqdm)

    def classify(
        self,
        prompts: Prompt | Sequence[Prompt],
        *,
        pooling_params: PoolingParams | None = None,
        use_tqdm: bool = True,
    ) -> list[ClassificationRequestOutput]:
        """Give how likely each prompt is of each class.

        Raises: ClientError for a prompt that cannot be used, or a model that knows no classes.
        """
        params = pooling_params or PoolingParams()
        return self._encoder("classify").classify(_several(prompts), params, use_tqdm=use_tqdm)

    def score(
        self,
        data_1: Prompt | Sequence[Prompt],
        data_2: Prompt | Sequence[Prompt],
        *,
        pooling_params: PoolingParams | None = None,
        use_tqdm: bool = True,
    ) -> list[ScoringRequestOutput]:
        """Give how well pairs of texts go together; one in `data_1` stands for as many as needed.

        A model of one class reads both texts at once; one with vectors gives their cosine.

        Raises: ClientError for what cannot be scored.
        """
        first, second = _several(data_1), _several(data_2)
        params = pooling_params or PoolingParams()
        return self._encoder("score").score(first, second, params, use_tqdm=use_tqdm)

    def chat_stream(
        self,
        messages: Sequence[Message],
        sampling_params: SamplingParams | None = None,
        **how: Unpack[Conversing],
    ) -> Generator[str, None, None]:
        """Answer one conversation piece by piece, as text becomes sure; else as `chat`.

        Effects: whoever closes the iterator early ends the request.
        """
        params = self._chat_sampling() if sampling_params is None else sampling_params
        if params.num_outputs > 1:
            raise refused("n", params.num_outputs, "1 where the answer comes piece by piece")
        asked = self._asked(conversation_ids(self._model, messages, **how), params)
        (output,) = asked.outputs
        self._forks.add([output.request])
        try:
            while output.finish_reason is None:
                yield from (text for _, text in self._step({output.request.request_id: output}))
        finally:
            self._forks.abort(output.request.request_id)

    @property
    def _model(self) -> Loaded:
        if self._generating is None:
            assert self._pooled is not None, "a model either generates or pools"
            raise ClientError(
                f"'{self._pooled.model_name}' pools or scores texts, and generates none. Use "
                "embed, classify or score, or load a model that generates."
            )
        return self._generating

    def _encoder(self, what: str) -> PooledModel:
        if self._pooled is None:
            raise ClientError(
                f"'{self._model.model_name}' generates text, so it cannot {what}. Use generate or "
                "chat, or load an encoder, or a folder whose modules.json says how it is pooled."
            )
        return self._pooled

    def _chat_sampling(self) -> SamplingParams:
        return replace(self._model.default_sampling, max_tokens=None)

    def _asked(self, prompt: Prompt, params: SamplingParams) -> Asked:
        name = str(self._num_asked)
        self._num_asked += 1
        return ask(self._model, name, prompt, params)

    def _run(self, asked: Sequence[Asked], *, use_tqdm: bool) -> list[RequestOutput]:
        outputs = [output for each in asked for output in each.outputs]
        with Progress(len(outputs), shown=use_tqdm) as progress:
            try:
                for each in asked:
                    self._forks.add([output.request for output in each.outputs])
                open_outputs = {output.request.request_id: output for output in outputs}
                while open_outputs:
                    for output, _ in self._step(open_outputs):
                        if output.finish_reason is not None:
                            del open_outputs[output.request.request_id]
                            progress.ended(output)
            finally:
                for output in outputs:
                    if output.finish_reason is None:
                        self._forks.abort(output.request.request_id)
        return [each.result() for each in asked]

    def _step(self, outputs: Mapping[RequestId, OutputText]) -> list[tuple[OutputText, str]]:
        """Make a step; give each output that got a token, with the text that came of it."""
        delta = self._forks.step()
        for request_id, scored in delta.scored.items():
            if request_id in outputs:
                outputs[request_id].score(scored)
        news = []
        for index, (request_id, token) in enumerate(
            zip(delta.request_ids, delta.tokens.tolist(), strict=True)
        ):
            output = outputs.get(request_id)
            if output is None:
                continue
            ended = delta.finished.get(request_id)
            if delta.logprobs is not None:
                output.tell(delta.logprobs[index : index + 1])
            news.append((output, output.push(token, ended)))
            if ended is None and output.finish_reason is not None:
                self._forks.abort(request_id)
        for request_id, reason in delta.finished.items():
            output = outputs.get(request_id)
            if output is not None and output.finish_reason is None:
                news.append((output, output.end(reason)))
        return news


def _several(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """Give a list of prompts, whether one came or several."""
    if isinstance(prompts, str | Mapping):
        return [prompts]
    several: list[Prompt] = []
    numbers: list[int] = []
    for each in prompts:
        if isinstance(each, int):
            numbers.append(each)
        else:
            several.append(each)
    if numbers and several:
        raise ClientError("'prompts' mixes token ids with whole prompts.", param="prompts")
    return [numbers] if numbers else several


def _conversations(
    messages: Sequence[Message] | Sequence[Sequence[Message]],
) -> list[list[Message]]:
    """Give a list of conversations, whether one came or several."""
    one: list[Message] = []
    several: list[list[Message]] = []
    for each in messages:
        if isinstance(each, Mapping):
            one.append(each)
        else:
            several.append(list(each))
    if one and several:
        raise ClientError("'messages' mixes messages with conversations.", param="messages")
    return [one] if one else several


def _one_each(
    params: SamplingParams | Sequence[SamplingParams] | None, count: int, default: SamplingParams
) -> list[SamplingParams]:
    if params is None or isinstance(params, SamplingParams):
        return [default if params is None else params] * count
    if len(params) != count:
        raise ClientError(
            f"There are {count} prompts, but {len(params)} sampling parameters. "
            "Give one for all, or one for each.",
            param="sampling_params",
        )
    return list(params)


def _silent(line: str) -> None:
    pass
