"""What the unmodified `openai` client gets from a real server."""

from __future__ import annotations

from typing import TypedDict

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from octavo.testing.loaded import VOCAB_SIZE, byte_tokenizer
from octavo.testing.null import by_hand
from octavo.testing.served import Live, until


class Chat(TypedDict, total=False):
    """What the tests below ask of a chat."""

    model: str
    messages: list[ChatCompletionUserMessageParam]
    seed: int
    temperature: float
    max_tokens: int


class Completion(TypedDict, total=False):
    """What the tests below ask of a completion."""

    model: str
    prompt: str | list[str] | list[int] | list[list[int]]
    seed: int
    max_tokens: int


HELLO: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "Hello"}]


def test_a_completion_has_the_tokens_computed_by_hand(client: OpenAI) -> None:
    answer = client.completions.create(model="null", prompt="hello", temperature=0, max_tokens=7)
    tokenizer = byte_tokenizer()
    tokens = by_hand(
        tokenizer.encode("hello", add_special_tokens=True), num_tokens=7, vocab_size=VOCAB_SIZE
    )
    assert answer.choices[0].text == tokenizer.decode(tokens, skip_special_tokens=True)
    assert answer.choices[0].finish_reason == "length"
    assert answer.id.startswith("cmpl-")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 7)


def test_a_completion_is_sixteen_tokens_long_where_nothing_is_said(client: OpenAI) -> None:
    answer = client.completions.create(model="null", prompt="x", extra_body={"ignore_eos": True})
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 16


@pytest.mark.parametrize(
    ("prompt", "count"), [("text", 1), ([1, 2, 3], 1), (["one", "two"], 2), ([[1, 2], [3], [4]], 3)]
)
def test_each_prompt_gets_its_choice_whether_streamed_or_not(
    client: OpenAI, prompt: list[str], count: int
) -> None:
    asked: Completion = {"model": "null", "prompt": prompt, "seed": 11, "max_tokens": 50}
    whole = client.completions.create(**asked)
    assert [choice.index for choice in whole.choices] == list(range(count))
    texts = {choice.index: "" for choice in whole.choices}
    ends: dict[int, str | None] = dict.fromkeys(texts)
    for chunk in client.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            ends[choice.index] = choice.finish_reason
    assert [choice.text for choice in whole.choices] == list(texts.values())
    assert [choice.finish_reason for choice in whole.choices] == list(ends.values())


def test_the_usage_counts_all_prompts_and_choices(client: OpenAI) -> None:
    answer = client.completions.create(
        model="null", prompt=[[1, 2], [3]], max_tokens=4, extra_body={"ignore_eos": True}
    )
    assert answer.usage is not None
    counts = (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens)
    assert counts == (3, 8, 11)


def test_an_echo_stands_before_the_output(client: OpenAI) -> None:
    asked: Completion = {"model": "null", "prompt": "hello", "seed": 1, "max_tokens": 9}
    plain = client.completions.create(**asked)
    echoed = client.completions.create(**asked, echo=True)
    assert echoed.choices[0].text == "hello" + plain.choices[0].text
    streamed = client.completions.create(**asked, echo=True, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == echoed.choices[0].text


@pytest.mark.parametrize("seed", [0, 1, 2**62, -5])
def test_streamed_chat_is_the_unstreamed_to_the_byte(client: OpenAI, seed: int) -> None:
    asked: Chat = {"model": "null", "messages": HELLO, "seed": seed, "max_tokens": 120}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert [chunk.choices[0].delta.role for chunk in chunks[:2]] == ["assistant", None]
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_last_chunk_counts_tokens_where_asked(client: OpenAI) -> None:
    asked: Chat = {"model": "null", "messages": HELLO, "temperature": 0, "max_tokens": 5}
    plain = client.chat.completions.create(**asked)
    *chunks, last = client.chat.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    )
    assert all(chunk.usage is None for chunk in chunks)
    assert last.choices == []
    assert plain.usage is not None
    assert last.usage is not None
    assert last.usage.total_tokens == plain.usage.total_tokens
    details = last.usage.prompt_tokens_details
    assert details is not None
    assert details.cached_tokens == 16


def test_a_stop_string_ends_the_stream_and_the_request(client: OpenAI) -> None:
    asked: Chat = {"model": "null", "messages": HELLO, "seed": 8}
    text = client.chat.completions.create(**asked).choices[0].message.content
    assert text is not None
    stop = text[20:23]
    chunks = list(client.chat.completions.create(**asked, stop=stop, stream=True))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces) == text[: text.index(stop)]
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_chat_goes_to_the_end_of_the_context_where_nothing_is_said(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="null",
        messages=[{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        seed=1,
        extra_body={"ignore_eos": True},
    )
    assert answer.usage is not None
    assert answer.usage.total_tokens == 512


def test_models_are_listed_and_shown(client: OpenAI) -> None:
    (card,) = client.models.list().data
    assert card.id == "null"
    assert client.models.retrieve("null") == card


def test_another_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="Served: null") as caught:
        client.chat.completions.create(model="other", messages=HELLO)
    assert caught.value.status_code == 404


@pytest.mark.parametrize(
    "wish",
    [{"n": 0}, {"top_p": 0.5}, {"logprobs": True}, {"tool_choice": "auto"}, {"frob": 1}],
)
def test_a_wrong_parameter_is_refused_by_name(client: OpenAI, wish: dict[str, object]) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="null", messages=[{"role": "user", "content": "x"}], extra_body=wish
        )
    assert caught.value.param == next(iter(wish))


def test_a_refused_prompt_has_its_status_also_when_streamed(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="at most 511"):
        client.completions.create(model="null", prompt="x" * 600, stream=True)


def test_one_refused_prompt_ends_its_mates(client: OpenAI, live: Live) -> None:
    with pytest.raises(openai.BadRequestError):
        client.completions.create(model="null", prompt=["fits", "x" * 600], max_tokens=400)
    until(lambda: not live.loaded.engine.has_work)
    assert live.loaded.engine.stats.held_blocks == 0
