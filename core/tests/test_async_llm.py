"""The asynchronous face: many coroutines, one engine, in a thread or in a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from octavo.asking import SamplingParams
from octavo.async_llm import AsyncLLM
from octavo.errors import ClientError, LaterError, ModelError, OperatorError
from octavo.llm import LLM
from octavo.outputs import RequestOutput
from octavo.testing.loaded import VOCAB_SIZE, NullLoaded, byte_tokenizer, null_limits
from octavo.testing.null import by_hand, null_engine
from octavo.testing.served import within

LONG = 100_000
GREEDY = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
ENDLESS = SamplingParams(temperature=0, max_tokens=LONG - 10, ignore_eos=True)


@pytest.fixture
def loaded() -> NullLoaded:
    limits = null_limits(max_context_tokens=LONG)
    return NullLoaded(engine=null_engine(limits), max_context_tokens=LONG)


@pytest.fixture
def llm(loaded: NullLoaded) -> Iterator[AsyncLLM]:
    made = AsyncLLM(loaded)
    yield made
    made.close()


async def last(outputs: AsyncGenerator[RequestOutput, None]) -> RequestOutput:
    async with aclosing(outputs):
        async for each in outputs:
            result = each
    return result


def test_the_output_grows_to_what_was_computed_by_hand(llm: AsyncLLM) -> None:
    async def ask() -> list[RequestOutput]:
        return [each async for each in llm.generate([4, 5], GREEDY)]

    outputs = within(ask())
    expected = by_hand([4, 5], num_tokens=12, vocab_size=VOCAB_SIZE)
    texts = [each.outputs[0].text for each in outputs]
    for each in outputs:
        tokens = each.outputs[0].token_ids
        assert tokens == expected[: len(tokens)]
        assert texts[-1].startswith(each.outputs[0].text)
        assert each.finished == (len(tokens) == 12)
    assert outputs[-1].outputs[0].finish_reason == "length"


def test_many_coroutines_get_each_their_own(llm: AsyncLLM) -> None:
    async def ask() -> list[RequestOutput]:
        return await asyncio.gather(*(last(llm.generate([index], GREEDY)) for index in range(50)))

    for index, each in enumerate(within(ask())):
        expected = by_hand([index], num_tokens=12, vocab_size=VOCAB_SIZE)
        assert each.outputs[0].token_ids == expected


def test_an_aborted_request_ends_with_what_there_is(llm: AsyncLLM) -> None:
    async def ask() -> RequestOutput:
        async with aclosing(llm.generate("x", ENDLESS, "mine")) as outputs:
            async for each in outputs:
                if not each.finished:
                    llm.abort("mine")
                result = each
        return result

    result = within(ask())
    assert result.finished
    assert result.outputs[0].finish_reason == "abort"
    assert result.outputs[0].token_ids


def test_who_leaves_the_generator_ends_its_request(loaded: NullLoaded, llm: AsyncLLM) -> None:
    async def ask() -> None:
        async with aclosing(llm.generate("x", ENDLESS)) as outputs:
            async for _ in outputs:
                break
        while (await llm.stats()).stats.running:
            await asyncio.sleep(0.005)

    within(ask())
    assert loaded.engine.stats.held_blocks == 0


def test_a_name_that_is_in_use_is_refused(llm: AsyncLLM) -> None:
    async def ask() -> None:
        async with aclosing(llm.generate("x", ENDLESS, "mine")) as outputs:
            await anext(outputs)
            with pytest.raises(ClientError, match="in use"):
                await anext(llm.generate("x", ENDLESS, "mine"))
        assert (await last(llm.generate("x", GREEDY, "mine"))).finished

    within(ask())


def test_a_conversation_is_answered_as_the_template_says(llm: AsyncLLM) -> None:
    async def ask() -> RequestOutput:
        return await last(llm.chat([{"role": "user", "content": "hi"}], GREEDY))

    prompt = within(ask()).prompt_token_ids
    assert prompt[0] == 258


def test_a_conversation_may_be_written_in_another_way(llm: AsyncLLM) -> None:
    async def ask() -> RequestOutput:
        asked = llm.chat(
            [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "so"}],
            GREEDY,
            chat_template="{{ tools }}{{ messages[-1].content }}!",
            tools=[{"name": "f"}],
            add_generation_prompt=False,
            continue_final_message=True,
        )
        return await last(asked)

    prompt = within(ask()).prompt_token_ids
    assert byte_tokenizer().decode(prompt, skip_special_tokens=False) == "[{'name': 'f'}]so"


def test_a_pause_that_keeps_stops_everybody_where_they_are(llm: AsyncLLM) -> None:
    long = SamplingParams(temperature=0, max_tokens=2000, ignore_eos=True)

    async def ask() -> tuple[RequestOutput, RequestOutput]:
        async with aclosing(llm.generate([3], long)) as outputs:
            await anext(outputs)
            await llm.pause("keep")
            later = asyncio.ensure_future(last(llm.generate([4], GREEDY)))
            first, second = await llm.stats(), await llm.stats()
            assert first.stats.held_blocks == second.stats.held_blocks > 0
            await llm.resume()
            return await last(outputs), await later

    one, other = within(ask())
    assert one.outputs[0].token_ids == by_hand([3], num_tokens=2000, vocab_size=VOCAB_SIZE)
    assert other.outputs[0].token_ids == by_hand([4], num_tokens=12, vocab_size=VOCAB_SIZE)


def test_a_pause_that_aborts_ends_everybody_even_who_waits(llm: AsyncLLM) -> None:
    async def ask() -> list[RequestOutput]:
        tasks = [asyncio.ensure_future(last(llm.generate([index], ENDLESS))) for index in range(20)]
        while not (await llm.stats()).num_queued:
            await asyncio.sleep(0.001)
        await llm.pause("abort")
        ended = await asyncio.gather(*tasks)
        assert (await llm.stats()).stats.held_blocks == 0
        await llm.resume()
        assert (await last(llm.generate([1], GREEDY))).finished
        return list(ended)

    assert {each.outputs[0].finish_reason for each in within(ask())} == {"abort"}


def test_a_drain_ends_when_everybody_has_and_takes_nobody_new(llm: AsyncLLM) -> None:
    async def ask() -> RequestOutput:
        running = asyncio.ensure_future(last(llm.generate([1], replace(GREEDY, max_tokens=1000))))
        await asyncio.sleep(0)
        await llm.drain()
        assert (await llm.stats()).stats.running == 0
        result = await running
        with pytest.raises(LaterError, match="takes nothing new"):
            await last(llm.generate([2], GREEDY))
        await llm.resume()
        assert (await last(llm.generate([2], GREEDY))).finished
        return result

    assert within(ask()).outputs[0].finish_reason == "length"


def test_after_a_reset_a_prompt_is_computed_again(llm: AsyncLLM) -> None:
    async def ask() -> list[int]:
        counts = []
        for reset in (False, False, True):
            if reset:
                await llm.reset_prefix_cache()
            counts.append((await last(llm.generate([5] * 100, GREEDY))).num_cached_tokens)
        return counts

    assert within(ask()) == [0, 96, 0]


def test_several_outputs_of_a_prompt_come_as_one_result(llm: AsyncLLM) -> None:
    params = SamplingParams(n=4, seed=7, max_tokens=9, ignore_eos=True)

    async def ask() -> RequestOutput:
        return await last(llm.generate([5] * 40, params))

    found = within(ask()).outputs
    whole = LLM(NullLoaded()).generate([[5] * 40], params, use_tqdm=False)[0].outputs
    assert [each.token_ids for each in found] == [each.token_ids for each in whole]


def test_what_is_new_each_time_joins_to_the_whole() -> None:
    params = SamplingParams(n=3, seed=7, max_tokens=60, ignore_eos=True, logprobs=1, stop="zz")

    async def ask(llm: AsyncLLM) -> tuple[list[RequestOutput], RequestOutput]:
        kind = replace(params, output_kind="delta")
        grown = [each async for each in llm.generate([5] * 40, kind)]
        return grown, await last(llm.generate([5] * 40, params))

    llm = AsyncLLM(telling())
    try:
        news, whole = within(ask(llm))
    finally:
        llm.close()
    assert [each.finished for each in news] == [False] * (len(news) - 1) + [True]
    assert len(news) > 10
    for at, output in enumerate(whole.outputs):
        parts = [each.outputs[at] for each in news]
        assert "".join(part.text for part in parts) == output.text
        assert [token for part in parts for token in part.token_ids] == output.token_ids
        assert [one for part in parts for one in part.logprobs or ()] == output.logprobs
        assert parts[-1].cumulative_logprob == output.cumulative_logprob


def test_who_wants_the_end_alone_gets_one_result(llm: AsyncLLM) -> None:
    async def ask() -> list[RequestOutput]:
        params = replace(GREEDY, output_kind="final_only")
        return [each async for each in llm.generate([4, 5], params)]

    (found,) = within(ask())
    assert found.finished
    assert found.outputs[0].token_ids == by_hand([4, 5], num_tokens=12, vocab_size=VOCAB_SIZE)
    with pytest.raises(ClientError, match="output_kind"):
        SamplingParams(output_kind="now")  # type: ignore[arg-type]


def telling() -> NullLoaded:
    """Load a model that tells logprobs."""
    return NullLoaded(engine=null_engine(null_limits(), entries=("forward", "sample")))


def test_of_more_outputs_than_wanted_the_best_come_once_they_are_known() -> None:
    params = SamplingParams(n=2, best_of=5, seed=7, max_tokens=9)

    async def ask(llm: AsyncLLM) -> list[RequestOutput]:
        return [each async for each in llm.generate([5] * 40, params)]

    llm = AsyncLLM(telling())
    try:
        (found,) = within(ask(llm))
    finally:
        llm.close()
    (whole,) = LLM(telling()).generate([[5] * 40], params, use_tqdm=False)
    assert found.finished
    assert [each.text for each in found.outputs] == [each.text for each in whole.outputs]


def test_a_priority_is_refused_where_none_counts(llm: AsyncLLM) -> None:
    with pytest.raises(ClientError, match="--scheduling-policy priority") as caught:
        within(last(llm.generate([1], GREEDY, priority=1)))
    assert caught.value.param == "priority"


def test_logprobs_come_over_and_what_a_device_cannot_tell_is_refused_by_name() -> None:
    params = SamplingParams(temperature=0, max_tokens=6, logprobs=2, ignore_eos=True)

    async def ask(llm: AsyncLLM) -> list[RequestOutput]:
        with pytest.raises(ClientError, match="prompt_logprobs"):
            await last(llm.generate([5], replace(params, prompt_logprobs=1)))
        return [each async for each in llm.generate([5], params)]

    llm = AsyncLLM(telling())
    try:
        *grown, found = [each.outputs[0] for each in within(ask(llm))]
    finally:
        llm.close()
    whole = LLM(telling()).generate([[5]], params, use_tqdm=False)[0].outputs[0]
    assert found.logprobs == whole.logprobs
    assert found.logprobs is not None
    assert [len(each) for each in found.logprobs] == [2] * 6
    for each in grown:
        assert each.logprobs == found.logprobs[: len(each.token_ids)]


def test_a_model_that_is_not_there_is_told_as_when_it_is_loaded_here(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no model"):
        AsyncLLM(str(tmp_path / "nothing"), in_process=True)
    with pytest.raises(OperatorError, match="There is no model"):
        AsyncLLM(str(tmp_path / "nothing"))
