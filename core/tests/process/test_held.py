"""An engine process whose requests are all held: it sleeps, and wakes for whatever may end that."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from octavo.asking import SamplingParams, make_request
from octavo.engine import Engine
from octavo.heart import heart
from octavo.outputs import OutputText
from octavo.process.client import EngineClient
from octavo.process.stream import Stream
from octavo.process.thread import ThreadHost
from octavo.request import Request
from octavo.testing.loaded import VOCAB_SIZE, NullLoaded, null_limits
from octavo.testing.null import NullProgram, by_hand
from octavo.testing.served import until, within

NEVER_S = 3600.0
PARAMS = SamplingParams(temperature=0, max_tokens=5, ignore_eos=True)


class Door:
    """A gate for prompts that begin with 1, which counts how often it is asked for one."""

    def __init__(self) -> None:
        self.is_wide = False
        self.num_asked = 0

    def is_open(self, request: Request) -> bool:
        if request.prompt_ids[0] != 1:
            return True
        self.num_asked += 1
        return self.is_wide


class Held:
    """A client of an engine behind a door, which looks at it again only when it is woken."""

    def __init__(self, *, depth: int) -> None:
        self.door = Door()
        limits = null_limits()
        parts = heart(NullProgram(limits), limits, gates=[self.door])
        self.engine: Engine = parts.engine(max_in_flight=depth)
        self.model = NullLoaded(engine=self.engine)
        self.client = EngineClient(ThreadHost(self.model, probe_s=NEVER_S))
        self.client.start()
        self.client.wait_ready()

    def output(self, *prompt: int) -> OutputText:
        return OutputText(self.model, make_request(self.model, "same", prompt, PARAMS), PARAMS)

    def ask(self, *prompt: int) -> tuple[OutputText, Stream]:
        output = self.output(*prompt)
        return output, self.client.submit([output])


@pytest.fixture(params=[1, 2], ids=["depth 1", "depth 2"])
def held(request: pytest.FixtureRequest) -> Iterator[Held]:
    made = Held(depth=request.param)
    yield made
    made.client.close()


async def finish(stream: Stream) -> None:
    while stream.is_open:
        await stream.take()


def right(*prompt: int) -> list[int]:
    return by_hand(prompt, num_tokens=5, vocab_size=VOCAB_SIZE)


async def asked(held: Held) -> int:
    """Wait until the door was asked, and the engine told of nothing for a while."""
    while not held.door.num_asked:
        await asyncio.sleep(0.001)
    await held.client.control("stats")
    return held.door.num_asked


def test_who_opens_a_gate_and_rings_wakes_an_engine_that_sleeps(held: Held) -> None:
    async def ask() -> list[int]:
        output, stream = held.ask(1, 2)
        await asked(held)
        held.door.is_wide = True
        threading.Timer(0.01, held.engine.bell.ring).start()
        await finish(stream)
        return output.token_ids

    assert within(ask()) == right(1, 2)


def test_a_closed_gate_is_asked_for_each_message_and_not_again_and_again(held: Held) -> None:
    async def ask() -> tuple[int, int]:
        _, stream = held.ask(1, 2)
        first = await asked(held)
        await asyncio.sleep(0.2)
        for _ in range(3):
            await held.client.control("stats")
        found = held.door.num_asked
        stream.close()
        return first, found

    first, found = within(ask())
    assert first <= 3
    assert found - first <= 4, "one look for each message, and what was under way"


def test_who_comes_while_others_are_held_is_served_at_once(held: Held) -> None:
    async def ask() -> list[int]:
        _, stream = held.ask(1, 2)
        await asked(held)
        output, other = held.ask(7)
        await finish(other)
        stream.close()
        return output.token_ids

    assert within(ask()) == right(7)


def test_who_is_held_can_leave_and_a_pause_can_end(held: Held) -> None:
    async def ask() -> list[int]:
        _, stream = held.ask(1, 2)
        await asked(held)
        stream.close()
        while held.client.seen.waiting:
            await asyncio.sleep(0.001)
        await held.client.control("pause", mode="keep")
        output, other = held.ask(8)
        while not held.client.seen.waiting:
            await asyncio.sleep(0.001)
        await held.client.control("resume")
        await finish(other)
        return output.token_ids

    assert within(ask()) == right(8)


def test_an_engine_whose_requests_are_held_is_not_taken_for_one_that_hangs(held: Held) -> None:
    async def ask() -> None:
        _, stream = held.ask(1, 2)
        await asked(held)
        while held.client.seen.is_busy:
            await asyncio.sleep(0.001)
        assert held.client.seen.waiting == 1
        stream.close()

    within(ask())
    until(lambda: held.client.seen.waiting == 0)
