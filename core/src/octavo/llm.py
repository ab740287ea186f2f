"""The offline face: a model in this process, from prompts to texts.

    LLM("./model").generate(["Once upon a time"], SamplingParams(temperature=0))

All prompts go to the engine at once and are batched there; results come back in the order of the
prompts. Needs neither the server nor what it is made of.

Does not know HTTP, threads or the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from octavo.asking import Loaded, SamplingParams, conversation_ids, make_request, prompt_ids
from octavo.config import from_environment
from octavo.errors import ClientError
from octavo.outputs import OutputText, RequestOutput
from octavo.progress import Progress
from octavo.request import RequestId

TokensPrompt: TypeAlias = Mapping[str, Sequence[int]]
Prompt: TypeAlias = str | Sequence[int] | TokensPrompt
Message: TypeAlias = Mapping[str, object]


class LLM:
    """A model, ready to generate."""

    def __init__(
        self,
        model: str | Loaded | None = None,
        *,
        device: str | None = None,
        devices: Sequence[int] | None = None,
        dtype: str = "auto",
        max_model_len: int | None = None,
        max_num_seqs: int | None = None,
        max_num_batched_tokens: int | None = None,
        block_size: int | None = None,
        kv_cache_memory_bytes: int | None = None,
        enable_prefix_caching: bool = True,
        seed: int = 0,
        report: Callable[[str], None] | None = None,
    ) -> None:
        """Load a model, or take one that is loaded; without one, load a small demo model.

        `report` hears each stage of loading.

        Raises: OperatorError, saying what does not exist, is not supported or does not fit.
        """
        self._num_asked = 0
        if model is not None and not isinstance(model, str):
            self._model = model
            return
        from octavo.loading import load

        settings = replace(
            from_environment(),
            model=model,
            device=device,
            devices=None if devices is None else tuple(devices),
            dtype=dtype,
            max_context_tokens=max_model_len,
            max_requests=max_num_seqs,
            max_step_tokens=max_num_batched_tokens,
            block_size=block_size,
            kv_cache_bytes=kv_cache_memory_bytes,
            prefix_caching=enable_prefix_caching,
            seed=seed,
        )
        self._model = load(settings, report=_silent if report is None else report)

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = True,
    ) -> list[RequestOutput]:
        """Continue prompts: one or several, each a text, token ids or `{"prompt_token_ids": ...}`.

        Raises: ClientError for a prompt or a parameter that cannot be used; then nothing runs.
        """
        given = _several(prompts)
        texts = [prompt if isinstance(prompt, str) else None for prompt in given]
        ids = [prompt_ids(self._model, _text_or_ids(prompt)) for prompt in given]
        params = _one_each(sampling_params, len(ids), self._model.default_sampling)
        return self._run(texts, ids, params, use_tqdm=use_tqdm)

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = True,
    ) -> list[RequestOutput]:
        """Answer one conversation, or several at once; by default up to the context's limit.

        Raises: ClientError where the model has no chat template, or the template refuses.
        """
        ids = [conversation_ids(self._model, each) for each in _conversations(messages)]
        params = _one_each(sampling_params, len(ids), self._chat_sampling())
        return self._run([None] * len(ids), ids, params, use_tqdm=use_tqdm)

    def chat_stream(
        self, messages: Sequence[Message], sampling_params: SamplingParams | None = None
    ) -> Generator[str, None, None]:
        """Answer one conversation piece by piece, as text becomes sure.

        Effects: whoever closes the iterator early ends the request.
        """
        params = self._chat_sampling() if sampling_params is None else sampling_params
        output = self._add(conversation_ids(self._model, messages), params)
        try:
            while output.finish_reason is None:
                yield from (text for _, text in self._step({output.request.request_id: output}))
        finally:
            self._model.engine.abort(output.request.request_id)

    def _chat_sampling(self) -> SamplingParams:
        return replace(self._model.default_sampling, max_tokens=None)

    def _run(
        self,
        texts: Sequence[str | None],
        ids: Sequence[Sequence[int]],
        params: Sequence[SamplingParams],
        *,
        use_tqdm: bool,
    ) -> list[RequestOutput]:
        outputs: list[OutputText] = []
        with Progress(len(ids), shown=use_tqdm) as progress:
            try:
                for prompt, each in zip(ids, params, strict=True):
                    outputs.append(self._add(prompt, each))
                open_outputs = {output.request.request_id: output for output in outputs}
                while open_outputs:
                    for output, _ in self._step(open_outputs):
                        if output.finish_reason is not None:
                            del open_outputs[output.request.request_id]
                            progress.ended(output)
            finally:
                for output in outputs:
                    if output.finish_reason is None:
                        self._model.engine.abort(output.request.request_id)
        return [_result(output, text) for output, text in zip(outputs, texts, strict=True)]

    def _add(self, ids: Sequence[int], params: SamplingParams) -> OutputText:
        request = make_request(self._model, str(self._num_asked), ids, params)
        output = OutputText(self._model, request, params)
        self._model.engine.add(request)
        self._num_asked += 1
        return output

    def _step(self, outputs: Mapping[RequestId, OutputText]) -> list[tuple[OutputText, str]]:
        """Make a step; give each output that got a token, with the text that came of it."""
        delta = self._model.engine.step()
        news = []
        for request_id, token in zip(delta.request_ids, delta.tokens.tolist(), strict=True):
            output = outputs.get(request_id)
            if output is None:
                continue
            ended = delta.finished.get(request_id)
            news.append((output, output.push(token, ended)))
            if ended is None and output.finish_reason is not None:
                self._model.engine.abort(request_id)
        return news


def _result(output: OutputText, prompt: str | None) -> RequestOutput:
    return RequestOutput(
        request_id=output.request.request_id,
        prompt=prompt,
        prompt_token_ids=output.request.prompt_ids.tolist(),
        outputs=[output.completion(0)],
        finished=True,
        num_cached_tokens=output.request.num_cached_tokens,
    )


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


def _text_or_ids(prompt: Prompt) -> str | Sequence[int]:
    if not isinstance(prompt, Mapping):
        return prompt
    if set(prompt) != {"prompt_token_ids"}:
        raise ClientError(
            f"A prompt has the keys {sorted(prompt)}, but 'prompt_token_ids' alone is known. "
            "Give a text as a plain string.",
            param="prompts",
        )
    return prompt["prompt_token_ids"]


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
