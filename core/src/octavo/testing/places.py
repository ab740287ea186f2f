"""The places where an engine can be: in this process, or across the process boundary.

    HERE     LLM ──▶ Engine
    ACROSS   EngineClient ──▶ messages ──▶ EngineService ──▶ Engine, in a process of its own

Each takes prompts and gives whole results, so that one law can be held in all of them. What is
loaded is the model without weights, with the sizes that settings name, or what a loader makes.

Knows nothing of the laws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from octavo.asking import Loaded, Model, SamplingParams
from octavo.config import Settings, from_environment
from octavo.engine import Stats
from octavo.llm import LLM
from octavo.outputs import RequestOutput
from octavo.process.child import ChildHost
from octavo.process.client import EngineClient
from octavo.process.facts import far_model
from octavo.prompts import NamedPrompt, ask
from octavo.testing.hosted import SIZED_BLOCK_BYTES, load_sized, null_folder
from octavo.testing.served import within

Where = Literal["here", "across"]
Load = Callable[..., Loaded]


class Place(Protocol):
    """An engine somewhere, and whoever asks it."""

    def generate(
        self, prompts: Sequence[NamedPrompt], params: Sequence[SamplingParams]
    ) -> list[RequestOutput]:
        """Let prompts run together to their ends."""
        ...

    def stats(self) -> Stats:
        """Give the engine's books."""
        ...


def sizes(
    folder: Path,
    *,
    depth: int,
    blocks: int = 60,
    requests: int = 6,
    step_tokens: int = 200,
    prefix_caching: bool = True,
) -> Settings:
    """Name sizes, and a folder for what is read of a model."""
    return replace(
        from_environment({}),
        model=null_folder(folder),
        max_in_flight=depth,
        kv_cache_bytes=(blocks - 1) * SIZED_BLOCK_BYTES,
        max_requests=requests,
        max_step_tokens=step_tokens,
        prefix_caching=prefix_caching,
    )


@contextmanager
def opened(where: Where, settings: Settings, loader: Load = load_sized) -> Iterator[Place]:
    """Load a model in one of the places, until the end of the `with`."""
    if where == "here":
        yield Here(loader(settings, report=_silent))
        return
    host = ChildHost(settings, loader=f"{loader.__module__}:{loader.__name__}")
    client = EngineClient(host)
    try:
        client.start()
        yield Across(client, far_model(client.wait_ready(), settings))
    finally:
        client.close()


class Here:
    """An engine in this process."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._llm = LLM(loaded)

    def generate(
        self, prompts: Sequence[NamedPrompt], params: Sequence[SamplingParams]
    ) -> list[RequestOutput]:
        """Let prompts run together to their ends."""
        return self._llm.generate(prompts, params, use_tqdm=False)

    def stats(self) -> Stats:
        """Give the engine's books."""
        self._loaded.engine.check_integrity()
        return self._loaded.engine.stats


@dataclass(frozen=True, slots=True)
class Across:
    """An engine in a process of its own, asked as servers ask it."""

    client: EngineClient
    model: Model

    def generate(
        self, prompts: Sequence[NamedPrompt], params: Sequence[SamplingParams]
    ) -> list[RequestOutput]:
        """Let prompts run together to their ends."""
        return within(self._generate(prompts, params))

    def stats(self) -> Stats:
        """Give the engine's books."""
        return within(self._stats())

    async def _generate(
        self, prompts: Sequence[NamedPrompt], params: Sequence[SamplingParams]
    ) -> list[RequestOutput]:
        pairs = zip(prompts, params, strict=True)
        asked = [ask(self.model, f"{turn}", *pair) for turn, pair in enumerate(pairs)]
        for stream in [self.client.submit(each.outputs) for each in asked]:
            while stream.is_open:
                await stream.take()
        return [each.result() for each in asked]

    async def _stats(self) -> Stats:
        return (await self.client.control("stats")).stats


def _silent(line: str) -> None:
    """Say nothing."""
