"""An engine process of one client: real signals, without a server around it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from octavo.asking import SamplingParams, make_request
from octavo.config import Settings, from_environment
from octavo.errors import InternalError, OctavoError, OperatorError
from octavo.outputs import OutputText
from octavo.process.child import ChildHost
from octavo.process.client import EngineClient
from octavo.process.facts import FarModel, far_model
from octavo.process.stream import Stream
from octavo.testing.hosted import EXITS, LONG, RAISES, null_folder
from octavo.testing.loaded import VOCAB_SIZE
from octavo.testing.null import by_hand
from octavo.testing.served import until, within
from octavo.testing.spawned import is_running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(from_environment({}), model=null_folder(tmp_path), engine_timeout_s=1.0)


async def to_the_end(stream: Stream) -> None:
    while stream.is_open:
        await stream.take()


class Asked:
    """An engine process, the client that asks it, and its model as the client knows it."""

    def __init__(self, settings: Settings) -> None:
        self.said: list[str] = []
        self.host = ChildHost(settings, loader="octavo.testing.hosted:load_troubled")
        self.client = EngineClient(self.host, say=self.said.append)
        self.client.start()
        self.model: FarModel = far_model(self.client.wait_ready(), settings)

    def output(self, prompt: list[int], *, max_tokens: int = 5) -> OutputText:
        params = SamplingParams(temperature=0, max_tokens=max_tokens, ignore_eos=True)
        return OutputText(self.model, make_request(self.model, "name", prompt, params), params)

    def run(self, output: OutputText) -> list[int]:
        async def ask() -> None:
            await to_the_end(self.client.submit([output]))

        within(ask())
        return output.token_ids

    def pid(self) -> int:
        assert self.host.pid is not None
        return self.host.pid


@pytest.fixture
def asked(settings: Settings) -> Iterator[Asked]:
    made = Asked(settings)
    pid = made.pid()
    yield made
    made.client.close()
    assert not is_running(pid)
    assert not made.host.place.folder.exists()


def test_tokens_of_an_engine_process_are_those_computed_by_hand(asked: Asked) -> None:
    expected = by_hand([7, 8], num_tokens=5, vocab_size=VOCAB_SIZE)
    assert asked.run(asked.output([7, 8])) == expected
    assert asked.said == ["reading 0 bytes of weights", "the engine is ready"]


def test_what_is_open_fails_when_the_process_goes_and_a_new_one_answers(asked: Asked) -> None:
    first = asked.pid()

    async def ask() -> None:
        stream = asked.client.submit([asked.output([9], max_tokens=LONG - 9)])
        await stream.take()
        os.kill(first, signal.SIGKILL)
        await to_the_end(stream)

    with pytest.raises(InternalError, match="The engine's process ended"):
        within(ask())
    until(lambda: asked.client.failure is None)
    assert asked.pid() != first
    assert asked.run(asked.output([7])) == by_hand([7], num_tokens=5, vocab_size=VOCAB_SIZE)


@pytest.mark.parametrize("trouble", [RAISES, EXITS])
def test_numbers_of_a_lost_engine_mean_nothing_to_the_next(asked: Asked, trouble: int) -> None:
    async def ask() -> None:
        good = asked.client.submit([asked.output([9], max_tokens=LONG - 9)])
        await good.take()
        bad = asked.client.submit([asked.output([trouble])])
        for stream in (good, bad):
            with pytest.raises(InternalError):
                await to_the_end(stream)

    within(ask())
    until(lambda: asked.client.failure is None)
    assert (asked.client.seen.running, asked.client.seen.waiting) == (0, 0)


def test_signals_that_end_other_processes_do_not_end_it(asked: Asked) -> None:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(asked.pid(), each)
    expected = by_hand([7, 8], num_tokens=5, vocab_size=VOCAB_SIZE)
    assert asked.run(asked.output([7, 8])) == expected


def test_a_model_that_cannot_be_loaded_is_told_in_its_own_words(settings: Settings) -> None:
    client = EngineClient(ChildHost(settings, loader="octavo.testing.hosted:refuse"))
    try:
        client.start()
        with pytest.raises(OperatorError, match=r"is no model at all\. Give another one"):
            client.wait_ready()
    finally:
        client.close()


def test_a_process_that_dies_while_it_loads_is_told_by_its_status(settings: Settings) -> None:
    client = EngineClient(ChildHost(settings, loader="octavo.testing.hosted:nothing_like_it"))
    try:
        client.start()
        with pytest.raises(OctavoError, match="The engine's process ended with status 1"):
            client.wait_ready()
    finally:
        client.close()
