"""Clients of an engine in a thread: what they get, and what is left when they go."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from octavo.asking import SamplingParams, make_request
from octavo.errors import (
    ClientError,
    LaterError,
    PromptTooLong,
    UnsupportedParameter,
)
from octavo.outputs import OutputText
from octavo.process.client import EngineClient
from octavo.process.host import Neighbour
from octavo.process.queue import QueueLimits
from octavo.process.stream import Stream
from octavo.process.thread import ThreadHost
from octavo.testing.loaded import VOCAB_SIZE, NullLoaded, null_limits
from octavo.testing.null import by_hand, null_engine
from octavo.testing.served import until, within

LONG = 100_000


def loaded(*, max_requests: int = 8) -> NullLoaded:
    limits = null_limits(max_context_tokens=LONG, max_requests=max_requests)
    return NullLoaded(engine=null_engine(limits), max_context_tokens=LONG)


@pytest.fixture
def model() -> NullLoaded:
    return loaded()


@pytest.fixture
def host(model: NullLoaded) -> ThreadHost:
    return ThreadHost(model)


@pytest.fixture
def client(host: ThreadHost) -> Iterator[EngineClient]:
    made = EngineClient(host)
    made.start()
    made.wait_ready()
    yield made
    made.close()
    assert not host.place.folder.exists()


def output(
    model: NullLoaded, prompt: list[int], *, name: str = "same", **wishes: object
) -> OutputText:
    params = SamplingParams(**{"temperature": 0, "max_tokens": 9, "ignore_eos": True, **wishes})  # type: ignore[arg-type]
    return OutputText(model, make_request(model, name, prompt, params), params)


async def finish(stream: Stream) -> None:
    while stream.is_open:
        await stream.take()


def test_tokens_are_those_computed_by_hand(model: NullLoaded, client: EngineClient) -> None:
    outputs = [output(model, [7, index]) for index in range(20)]

    async def ask() -> None:
        await finish(client.submit(outputs))

    within(ask())
    for index, each in enumerate(outputs):
        assert each.token_ids == by_hand([7, index], num_tokens=9, vocab_size=VOCAB_SIZE)
        assert each.finish_reason == "length"


def test_text_joins_to_the_whole_and_its_end_is_told_once(
    model: NullLoaded, client: EngineClient
) -> None:
    one = output(model, [5, 6], max_tokens=40)

    async def ask() -> tuple[str, list[bool]]:
        stream = client.submit([one])
        pieces = []
        while stream.is_open:
            pieces += await stream.take()
        return "".join(each.text for each in pieces), [each.is_last for each in pieces]

    text, ends = within(ask())
    assert text == one.text
    assert ends == [False] * (len(ends) - 1) + [True]


def test_clients_with_the_same_names_and_numbers_do_not_meet(
    model: NullLoaded, host: ThreadHost, client: EngineClient
) -> None:
    others = [EngineClient(Neighbour(host.place)) for _ in range(3)]
    try:
        for each in others:
            each.start()
            assert each.wait_ready().model_name == "null"
        everybody = [client, *others]
        outputs = [output(model, [9, index], max_tokens=50) for index in range(4)]

        async def ask() -> None:
            streams = [each.submit([one]) for each, one in zip(everybody, outputs, strict=True)]
            assert {tuple(stream.numbers) for stream in streams} == {(0,)}
            await asyncio.gather(*map(finish, streams))

        within(ask())
        for index, one in enumerate(outputs):
            expected = by_hand([9, index], num_tokens=50, vocab_size=VOCAB_SIZE)
            assert one.token_ids == expected
    finally:
        for each in others:
            each.close()


def test_a_client_that_is_gone_without_a_word_leaves_nothing(
    model: NullLoaded, host: ThreadHost, client: EngineClient
) -> None:
    guest = EngineClient(Neighbour(host.place))
    guest.start()
    guest.wait_ready()

    async def ask_and_leave() -> None:
        guest.submit([output(model, [1], max_tokens=LONG - 9) for _ in range(20)])
        while client.seen.running < 8:
            await asyncio.sleep(0.005)
        guest.close()

    within(ask_and_leave())
    until(lambda: (client.seen.running, client.seen.waiting) == (0, 0))
    assert model.engine.stats.held_blocks == 0


def test_a_client_that_is_gone_while_all_it_asked_for_waits_leaves_nothing(
    host: ThreadHost, client: EngineClient, model: NullLoaded
) -> None:
    guest = EngineClient(Neighbour(host.place))
    guest.start()
    guest.wait_ready()

    async def ask_and_leave() -> None:
        mine = client.submit([output(model, [2], max_tokens=LONG - 9) for _ in range(8)])
        while client.seen.running < 8:
            await asyncio.sleep(0.005)
        guest.submit([output(model, [1], max_tokens=LONG - 9) for _ in range(20)])
        while client.seen.waiting < 20:
            await asyncio.sleep(0.005)
        guest.close()
        while client.seen.waiting:
            await asyncio.sleep(0.005)
        assert client.seen.running == 8
        mine.close()

    within(ask_and_leave())
    until(lambda: client.seen.running == 0)
    assert model.engine.stats.held_blocks == 0


def test_a_stop_string_ends_the_request_in_the_engine(
    model: NullLoaded, client: EngineClient
) -> None:
    whole = output(model, [3, 4], max_tokens=60)

    async def ask() -> None:
        await finish(client.submit([whole]))
        stop = whole.text[20:22]
        cut = output(model, [3, 4], max_tokens=LONG - 9, stop=stop)
        await finish(client.submit([cut]))
        assert cut.stop_reason == stop

    within(ask())
    until(lambda: client.seen.running == 0)


def test_one_call_for_thousands_does_not_make_another_wait_for_all(
    model: NullLoaded, client: EngineClient
) -> None:
    many = [output(model, [index % 250, 1], max_tokens=5) for index in range(800)]
    one = output(model, [8], max_tokens=5)

    async def ask() -> int:
        crowd = client.submit(many)
        await crowd.take()
        await finish(client.submit([one]))
        num_ended = sum(each.finish_reason is not None for each in many)
        await finish(crowd)
        return num_ended

    assert within(ask()) < 400
    assert all(len(each.token_ids) == 5 for each in many)


def test_forks_compute_their_prompt_once(model: NullLoaded, client: EngineClient) -> None:
    forks = [output(model, [7] * 160, temperature=1.0, seed=index) for index in range(6)]
    within(finish_all(client, forks))
    assert [each.request.num_cached_tokens for each in forks] == [0] + [144] * 5
    assert len({tuple(each.token_ids) for each in forks}) == 6


def test_a_prompt_that_can_never_run_is_refused_at_once_though_others_wait(
    model: NullLoaded, client: EngineClient
) -> None:
    async def ask() -> None:
        crowd = client.submit([output(model, [1], max_tokens=LONG - 9) for _ in range(50)])
        with pytest.raises(ClientError, match="at most") as refusal:
            await finish(client.submit([output(model, [1] * LONG)]))
        assert refusal.value.code == PromptTooLong.code
        crowd.close()

    within(ask())


def test_an_overload_is_refused_and_nothing_that_runs_is_touched() -> None:
    model, limits = loaded(max_requests=2), QueueLimits(max_requests=3)
    client = EngineClient(ThreadHost(model, limits=limits))
    client.start()
    client.wait_ready()

    async def ask() -> None:
        crowd = client.submit([output(model, [index]) for index in range(5)])
        with pytest.raises(LaterError, match="Ask again later") as refusal:
            await finish(client.submit([output(model, [7]) for _ in range(5)]))
        assert refusal.value.retry_after_s
        await finish(crowd)

    try:
        within(ask())
    finally:
        client.close()


def test_a_thousand_clients_that_hang_up_at_random_leave_every_block_and_seat_free(
    model: NullLoaded, client: EngineClient
) -> None:
    chance = random.Random(11)

    async def visit() -> None:
        count = chance.choice([1, 1, 1, 3])
        outputs = [output(model, [chance.randrange(250)], max_tokens=400) for _ in range(count)]
        stream = client.submit(outputs)
        try:
            for _ in range(chance.randrange(4)):
                if stream.is_open:
                    await stream.take()
        finally:
            stream.close()

    async def ask() -> None:
        await asyncio.gather(*(visit() for _ in range(1000)))
        while client.seen.running or client.seen.waiting:
            await asyncio.sleep(0.005)
        told = await client.control("stats")
        assert (told.stats.running, told.stats.waiting, told.num_queued) == (0, 0, 0)
        assert told.stats.held_blocks == 0

    within(ask())
    model.engine.check_integrity()


def test_streams_of_two_event_loops_get_each_its_own(
    model: NullLoaded, client: EngineClient
) -> None:
    for index in range(2):
        one = output(model, [6, index])
        within(finish_all(client, [one]))
        assert one.token_ids == by_hand([6, index], num_tokens=9, vocab_size=VOCAB_SIZE)


async def finish_all(client: EngineClient, outputs: list[OutputText]) -> None:
    await finish(client.submit(outputs))


def test_what_is_open_fails_with_the_words_that_it_is_told(
    model: NullLoaded, client: EngineClient
) -> None:
    async def ask() -> None:
        stream = client.submit([output(model, [1], max_tokens=LONG - 9)])
        await stream.take()
        client.fail_open("we are closing")
        with pytest.raises(LaterError, match="we are closing"):
            await finish(stream)

    within(ask())
    until(lambda: client.seen.running == 0)


def test_code_does_not_travel(model: NullLoaded, client: EngineClient) -> None:
    async def ask() -> None:
        with pytest.raises(UnsupportedParameter, match="use LLM"):
            client.submit([output(model, [1], logits_processors=[lambda a, b, c: c])])

    within(ask())


def test_after_the_close_requests_are_refused(model: NullLoaded) -> None:
    client = EngineClient(ThreadHost(model))
    client.start()
    client.wait_ready()
    client.close()
    assert client.failure == "The engine was closed."
    with pytest.raises(LaterError):
        client.check_admission(1)


def test_an_aborted_stream_is_closed_whatever_comes_later(
    model: NullLoaded, client: EngineClient
) -> None:
    async def ask() -> None:
        stream = client.submit([output(model, [1], max_tokens=LONG - 9)])
        await stream.take()
        stream.abort()
        while client.seen.running:
            await asyncio.sleep(0.005)
        await stream.take()
        assert not stream.is_open
        assert stream.outputs[0].finish_reason == "abort"

    within(ask())
