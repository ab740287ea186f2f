"""The asynchronous face: one model for many coroutines, each with a request of its own.

    async with AsyncLLM("./model") as llm:
        async for output in llm.generate("Once upon a time"):
            print(output.outputs[0].text)

The engine runs in a process of its own, so that neither it nor the caller's event loop waits for
the other; one that dies is started again, and what was open fails. With `in_process=True`, or a
model that is loaded already, it runs in a thread of this process instead.

Does not know HTTP.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Unpack

from octavo.asking import (
    Conversing,
    Loaded,
    Model,
    SamplingParams,
    conversation_ids,
    prompt_ids,
)
from octavo.beams import BeamSearches, BeamSearchParams, broken_beam
from octavo.errors import ClientError
from octavo.llm import Message
from octavo.outputs import RequestOutput
from octavo.process.child import ChildHost
from octavo.process.client import EngineClient
from octavo.process.facts import far_model
from octavo.process.host import Host
from octavo.process.messages import StatsTold
from octavo.process.stream import Stream
from octavo.process.thread import ThreadHost
from octavo.prompts import Prompt, ask, ask_ids, text_of, text_or_ids
from octavo.scheduler.pausing import PauseMode
from octavo.step import Logprobs
from octavo.wishes import Wishes, settings_of


class AsyncLLM:
    """A model, ready to generate for any number of coroutines, on any event loop."""

    def __init__(
        self,
        model: str | Loaded | None = None,
        *,
        in_process: bool = False,
        report: Callable[[str], None] = lambda line: None,
        **wishes: Unpack[Wishes],
    ) -> None:
        """Load a model, or take one that is loaded; without one, load a small demo model.

        It waits until the model is ready, and `report` hears each stage.

        Raises: OperatorError, saying what does not exist, is not supported or does not fit.
        """
        loaded: Loaded | None = None
        settings = settings_of(model if isinstance(model, str) else None, **wishes)
        if model is not None and not isinstance(model, str):
            loaded = model
        elif in_process:
            from octavo.loading import load

            loaded = load(settings, report=report)
        host: Host
        if loaded is not None:
            host = ThreadHost(loaded)
        else:
            host = ChildHost(settings)
        self._engine = EngineClient(host, say=report)
        self._streams: dict[str, Stream] = {}
        self._numbers = itertools.count()
        try:
            self._engine.start()
            facts = self._engine.wait_ready()
            self._model: Model = far_model(facts, settings) if loaded is None else loaded
        except BaseException:
            self._engine.close()
            raise

    async def generate(
        self,
        prompt: Prompt,
        sampling_params: SamplingParams | None = None,
        request_id: str | None = None,
        *,
        priority: int = 0,
    ) -> AsyncGenerator[RequestOutput, None]:
        """Continue a prompt: a text, token ids or a mapping, as `LLM.generate` takes.

        Gives the outputs so far each time that they grew, and the whole as the last; with the
        `output_kind` "delta" what is new alone, which costs long outputs less, and with
        "final_only" or `best_of` the whole alone. Who closes the generator, or is cancelled,
        ends the request. The lowest `priority` comes first, where the model was loaded to go by
        priorities.

        Raises: ClientError for what cannot be used; LaterError while the engine does not answer
            or has enough to do; InternalError where it goes.
        """
        params = self._model.default_sampling if sampling_params is None else sampling_params
        async with aclosing(self._results(prompt, params, request_id, priority)) as results:
            async for each in results:
                yield each

    async def chat(
        self,
        messages: Sequence[Message],
        sampling_params: SamplingParams | None = None,
        request_id: str | None = None,
        *,
        priority: int = 0,
        **how: Unpack[Conversing],
    ) -> AsyncGenerator[RequestOutput, None]:
        """Answer a conversation, by default up to the context's limit; else as `generate`.

        How it becomes text is `Conversing`'s to say.
        """
        ids = conversation_ids(self._model, messages, **how)
        default = replace(self._model.default_sampling, max_tokens=None)
        params = default if sampling_params is None else sampling_params
        async with aclosing(self._results(ids, params, request_id, priority)) as results:
            async for each in results:
                yield each

    async def beam_search(self, prompt: Prompt, params: BeamSearchParams) -> RequestOutput:
        """Find a prompt's likeliest outputs, as `beams` says, the best first.

        Raises: as `generate`; ClientError for more beams than logprobs are told.
        """
        ids = prompt_ids(self._model, text_or_ids(prompt))
        searches = BeamSearches(self._model, [ids], params)
        name = f"beams-{next(self._numbers)}"
        while contexts := searches.contexts():
            searches.advance(await self._told(name, contexts, searches.asked))
        (result,) = searches.results(name)
        return replace(result, prompt=text_of(prompt))

    def abort(self, request_id: str) -> None:
        """End a request; its generator ends with what there is. Harmless where it has ended.

        To be called on the event loop of its generator.
        """
        stream = self._streams.get(request_id)
        if stream is not None:
            stream.abort()

    async def stats(self) -> StatsTold:
        """Give the engine's books."""
        return await self._engine.control("stats")

    async def pause(self, mode: PauseMode = "abort") -> None:
        """Hold requests back until `resume`, and wait until the engine rests.

        "abort" ends everybody; "wait" lets those who have begun come to their end; "keep" stops
        them where they are. Whoever comes later waits.
        """
        await self._engine.control("pause", mode=mode)

    async def resume(self) -> None:
        """End a pause, and a drain; harmless without."""
        await self._engine.control("resume")

    async def drain(self) -> None:
        """Take nothing new until `resume`, and wait until everybody has come to an end."""
        await self._engine.control("drain")

    async def reset_prefix_cache(self, *, also_running: bool = False) -> None:
        """Forget what is remembered of prompts; those who run may have to compute theirs anew."""
        await self._engine.control("reset", also_running=also_running)

    @property
    def failure(self) -> str | None:
        """Say why no request would be answered now; None where one would."""
        return self._engine.failure

    def close(self) -> None:
        """Fail what is open, and end the engine."""
        self._engine.close()

    async def __aenter__(self) -> AsyncLLM:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def _told(
        self, name: str, contexts: Sequence[Sequence[int]], params: SamplingParams
    ) -> list[Logprobs]:
        """Compute one token behind each context, and tell how likely it and others were."""
        asked = [ask_ids(self._model, name, context, params) for context in contexts]
        outputs = [output for each in asked for output in each.outputs]
        stream = self._engine.submit(outputs)
        try:
            while stream.is_open:
                await stream.take()
        finally:
            stream.close()
        if any(output.finish_reason == "error" for output in outputs):
            raise broken_beam()
        return [output.told[0] for output in outputs]

    async def _results(
        self, prompt: Prompt, params: SamplingParams, request_id: str | None, priority: int
    ) -> AsyncGenerator[RequestOutput, None]:
        name = f"request-{next(self._numbers)}" if request_id is None else request_id
        if name in self._streams:
            raise ClientError(
                f"The request id '{name}' is in use; choose another.", param="request_id"
            )
        asked = ask(self._model, name, prompt, params, priority=priority)
        stream = self._streams[name] = self._engine.submit(asked.outputs)
        is_whole = params.output_kind == "final_only" or params.best_of is not None
        is_delta = params.output_kind == "delta" and not is_whole
        is_finished = False
        try:
            while not is_finished:
                await stream.take()
                is_finished = not stream.is_open
                if is_whole and not is_finished:
                    continue
                with stream.lock:
                    result = asked.news() if is_delta else asked.result()
                is_finished = result.finished
                if is_finished or not is_delta or any(each.token_ids for each in result.outputs):
                    yield result
        finally:
            stream.close()
            del self._streams[name]
