"""What is told beside the text, over HTTP: logprobs and token ids, as `LLM` gives them.

The model is a toy on the oracle: one server, and one `LLM` over another of the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TypeAlias

import pytest
from openai import OpenAI

from octavo import LLM, SamplingParams
from octavo.outputs import Logprob
from octavo.testing.answers import PROMPT, SAID, Json, chunks, completion, conversation
from octavo.testing.loaded import byte_tokenizer

LETTERS = sorted(byte_tokenizer().encode("abé ", add_special_tokens=False))

PROMPTS = ["ab", "the fox"]

Wish: TypeAlias = Mapping[str, object]


def told(found: Mapping[int, Logprob], token: int) -> float:
    return found[token].logprob


@pytest.mark.parametrize("count", [0, 2])
def test_a_completion_tells_logprobs_of_its_tokens_and_of_an_echo(
    toy: OpenAI, llm: LLM, count: int
) -> None:
    asked: Wish = {"seed": 3, "max_tokens": 6, "logprobs": count, "allowed_token_ids": LETTERS}
    params = SamplingParams(
        seed=3,
        max_tokens=6,
        logprobs=count,
        prompt_logprobs=count,
        allowed_token_ids=LETTERS,
    )
    expected = llm.generate(PROMPT, params, use_tqdm=False)[0]
    assert expected.prompt_logprobs is not None
    assert expected.outputs[0].logprobs is not None
    every = [*expected.prompt_logprobs, *expected.outputs[0].logprobs]
    tokens = [*expected.prompt_token_ids, *expected.outputs[0].token_ids]
    own = [None if each is None else told(each, at) for each, at in zip(every, tokens, strict=True)]
    (choice,) = completion(toy, echo=True, **asked)["choices"]
    logprobs = choice["logprobs"]
    assert choice["text"] == PROMPT + expected.outputs[0].text
    assert logprobs["token_logprobs"] == own
    assert logprobs["top_logprobs"][0] is None
    for found, exact in zip(logprobs["top_logprobs"][1:], every[1:], strict=True):
        assert exact is not None
        assert sorted(found.values()) == sorted(each.logprob for each in exact.values())
    offsets = logprobs["text_offset"]
    assert offsets[: len(PROMPT)] == list(range(len(PROMPT)))
    for token, text, at in zip(tokens, logprobs["tokens"], offsets, strict=True):
        spelled = byte_tokenizer().token_bytes(token)
        if spelled.isascii():
            assert choice["text"][at : at + 1] == text == spelled.decode()
        else:
            assert text == f"bytes:\\x{spelled.hex()}"
            assert choice["text"][at : at + 1] in ("é", "\ufffd")
    (plain,) = completion(toy, **asked)["choices"]
    size = len(PROMPT)
    assert plain["logprobs"] == {
        "tokens": logprobs["tokens"][size:],
        "token_logprobs": own[size:],
        "top_logprobs": logprobs["top_logprobs"][size:],
        "text_offset": [offset - size for offset in offsets[size:]],
    }


def test_a_chat_tells_logprobs_with_bytes_that_are_the_text(toy: OpenAI, llm: LLM) -> None:
    asked: Wish = {"seed": 3, "max_tokens": 12, "allowed_token_ids": LETTERS}
    answer = conversation(toy, logprobs=True, top_logprobs=3, **asked)
    params = SamplingParams(seed=3, max_tokens=12, logprobs=3, allowed_token_ids=LETTERS)
    (expected,) = llm.chat([SAID], params, use_tqdm=False)
    (choice,) = answer["choices"]
    content = choice["logprobs"]["content"]
    spelled = bytes(byte for each in content for byte in each["bytes"])
    assert spelled.decode("utf-8", "replace") == choice["message"]["content"]
    assert expected.outputs[0].logprobs is not None
    assert len(content) == 12
    for each, exact in zip(content, expected.outputs[0].logprobs, strict=True):
        assert each["logprob"] == next(iter(exact.values())).logprob
        assert [top["logprob"] for top in each["top_logprobs"]] == [
            one.logprob for one in sorted(exact.values(), key=lambda one: one.rank)[:3]
        ]
        assert [bytes(top["bytes"]) for top in each["top_logprobs"]] != [b""] * 3
    bare = conversation(toy, logprobs=True, **asked)["choices"][0]["logprobs"]["content"]
    assert bare == [{**each, "top_logprobs": []} for each in content]


@pytest.mark.parametrize(
    "wish",
    [
        {"logprobs": 2},
        {"logprobs": 1, "echo": True, "return_token_ids": True},
        {"logprobs": 0, "stop": ["b", "é"], "return_tokens_as_token_ids": True},
        {"return_token_ids": True},
        {"echo": True, "max_tokens": 0, "logprobs": 1},
        {},
    ],
    ids=lambda wish: " ".join(wish),
)
def test_a_completions_stream_is_the_whole_in_parts(toy: OpenAI, wish: Wish) -> None:
    asked: Wish = {
        "prompt": PROMPTS,
        "n": 2,
        "seed": 5,
        "max_tokens": 9,
        "allowed_token_ids": LETTERS,
        **wish,
    }
    whole = completion(toy, **asked)
    *parts, last = chunks(toy, chat=False, stream_options={"include_usage": True}, **asked)
    joined: dict[int, Json] = {}
    for part in parts:
        (choice,) = part["choices"]
        one = joined.setdefault(choice["index"], {"index": choice["index"], "text": ""})
        one["text"] += choice["text"]
        one["finish_reason"], one["stop_reason"] = choice["finish_reason"], None
        one["stop_reason"] = choice.get("stop_reason")
        for name, told in (choice["logprobs"] or {}).items():
            one.setdefault("logprobs", {}).setdefault(name, []).extend(told)
        for name in ("token_ids", "prompt_token_ids"):
            one.setdefault(name, []).extend(choice.get(name) or [])
    for choice in whole["choices"]:
        one = joined[choice["index"]]
        assert not wish.get("echo") or choice["text"].startswith(PROMPTS[choice["index"] // 2])
        assert {name: one.get(name) for name in choice} == choice
    assert {key: last["usage"][key] for key in ("prompt_tokens", "completion_tokens")} == {
        key: whole["usage"][key] for key in ("prompt_tokens", "completion_tokens")
    }


@pytest.mark.parametrize("tops", [None, 2])
def test_a_chats_stream_is_the_whole_in_parts(toy: OpenAI, tops: int | None) -> None:
    asked: Wish = {
        "n": 2,
        "seed": 5,
        "max_tokens": 9,
        "allowed_token_ids": LETTERS,
        "logprobs": tops is not None,
        "top_logprobs": tops,
        "return_token_ids": True,
    }
    whole = conversation(toy, **asked)
    parts = chunks(toy, chat=True, **asked)
    assert parts[0]["prompt_token_ids"] == whole["prompt_token_ids"]
    for choice in whole["choices"]:
        mine = [
            each for part in parts for each in part["choices"] if each["index"] == choice["index"]
        ]
        assert choice["message"]["content"] == "".join(
            each["delta"].get("content") or "" for each in mine
        )
        told = [entry for each in mine for entry in (each["logprobs"] or {}).get("content", [])]
        assert told == (choice["logprobs"] or {"content": []})["content"]
        ids = [token for each in mine for token in each.get("token_ids", [])]
        assert ids == choice["token_ids"]
        assert mine[-1]["finish_reason"] == choice["finish_reason"]


def test_each_chunk_counts_tokens_where_asked(toy: OpenAI) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    for chat in (False, True):
        parts = chunks(toy, chat=chat, seed=1, max_tokens=6, n=2, stream_options=options)
        counts = [part["usage"]["completion_tokens"] for part in parts]
        assert counts == sorted(counts)
        assert counts[-1] == counts[-2] == 12
        assert set(counts) > {12}
        prompts = {part["usage"]["prompt_tokens"] for part in parts}
        assert len(prompts) == 1


def test_prompt_logprobs_come_by_id_with_ranks_and_text(toy: OpenAI, llm: LLM) -> None:
    expected = llm.generate(
        PROMPT, SamplingParams(max_tokens=1, prompt_logprobs=2, seed=1), use_tqdm=False
    )[0]
    assert expected.prompt_logprobs is not None
    exact = [
        None if each is None else {str(token): asdict(one) for token, one in each.items()}
        for each in expected.prompt_logprobs
    ]
    answer = completion(toy, prompt_logprobs=2, n=2, seed=1, max_tokens=1)
    assert [choice["prompt_logprobs"] for choice in answer["choices"]] == [exact, exact]
    said = conversation(toy, prompt_logprobs=0, max_tokens=1)
    assert len(said["prompt_logprobs"]) == said["usage"]["prompt_tokens"]
    assert said["prompt_logprobs"][0] is None


def test_an_echo_alone_makes_nothing(toy: OpenAI) -> None:
    answer = completion(toy, echo=True, max_tokens=0, logprobs=1)
    (choice,) = answer["choices"]
    assert choice["text"] == PROMPT
    assert len(choice["logprobs"]["tokens"]) == len(PROMPT)
    assert choice["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 0


def test_tokens_may_be_named_by_their_ids(toy: OpenAI) -> None:
    asked: Wish = {"seed": 1, "max_tokens": 3, "return_tokens_as_token_ids": True}
    (choice,) = completion(toy, logprobs=0, return_token_ids=True, **asked)["choices"]
    names = [f"token_id:{token}" for token in choice["token_ids"]]
    assert choice["logprobs"]["tokens"] == names
    assert [list(each) for each in choice["logprobs"]["top_logprobs"]] == [[name] for name in names]
