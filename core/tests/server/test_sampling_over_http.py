"""Sampling parameters over HTTP: the tokens that they give `LLM`, and what is refused.

The model is a toy on the oracle: one server, and one `LLM` over another of the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import openai
import pytest
from openai import OpenAI

from octavo import LLM, SamplingParams
from octavo.testing.answers import PROMPT, SAID, chunks, completion, conversation
from octavo.testing.loaded import NullLoaded, byte_tokenizer, null_limits
from octavo.testing.null import null_engine
from octavo.testing.served import running
from octavo.testing.toy_loaded import toy_loaded
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms.loaded import Platform

LETTERS = sorted(byte_tokenizer().encode("abé ", add_special_tokens=False))

Wish: TypeAlias = Mapping[str, object]

# The last of each is what the wish is about.
WISHES: list[Wish] = [
    {"temperature": 0.3},
    {"top_k": 3},
    {"top_p": 0.2},
    {"min_p": 0.6},
    {"temperature": 0.01, "repetition_penalty": 1.9},
    {"temperature": 0.3, "presence_penalty": 2.0},
    {"temperature": 0.3, "frequency_penalty": 2.0},
    {"logit_bias": {"97": 100, "5": -100.0}},
    {"allowed_token_ids": LETTERS},
    {"allowed_token_ids": LETTERS, "bad_words": ["a"]},
    {"allowed_token_ids": LETTERS, "stop": ["b", "é"]},
    {"allowed_token_ids": LETTERS, "stop": "b", "include_stop_str_in_output": True},
    {"allowed_token_ids": [*LETTERS, 257]},
    {"allowed_token_ids": [*LETTERS, 257], "ignore_eos": True, "skip_special_tokens": False},
    {"allowed_token_ids": [*LETTERS, 257], "min_tokens": 12},
    {"allowed_token_ids": LETTERS, "stop_token_ids": LETTERS[:1]},
    {"allowed_token_ids": LETTERS, "detokenize": False},
    {"seed": 12},
    {"n": 3},
    {"n": 2, "best_of": 4},
    {"max_tokens": 3},
]


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: " ".join(wish))
def test_a_parameter_gives_the_tokens_and_the_text_that_it_gives_llm(
    toy: OpenAI, llm: LLM, wish: Wish
) -> None:
    *_, name = wish
    usual: Wish = {"seed": 7, "max_tokens": 14}
    asked = {**usual, **wish}
    answer = completion(toy, return_token_ids=True, **asked)
    given = {**usual, **{other: value for other, value in wish.items() if other != name}}
    without = completion(toy, return_token_ids=True, **given)
    assert answer["choices"] != without["choices"], f"{name} changes nothing here"
    by_id = {int(token): value for token, value in asked.get("logit_bias", {}).items()}  # type: ignore[attr-defined]
    params = SamplingParams(**{**asked, "logit_bias": by_id or None})  # type: ignore[arg-type]
    expected = llm.generate(PROMPT, params, use_tqdm=False)[0]
    told = [
        (each["index"], each["text"], each["token_ids"], each["finish_reason"], each["stop_reason"])
        for each in answer["choices"]
    ]
    assert told == [
        (each.index, each.text, each.token_ids, each.finish_reason, each.stop_reason)
        for each in expected.outputs
    ]
    assert answer["choices"][0]["prompt_token_ids"] == list(expected.prompt_token_ids)
    said = conversation(toy, return_token_ids=True, **asked)
    (other,) = llm.chat([SAID], params, use_tqdm=False)
    assert [each["token_ids"] for each in said["choices"]] == [
        each.token_ids for each in other.outputs
    ]
    assert [each["message"]["content"] for each in said["choices"]] == [
        each.text for each in other.outputs
    ]
    assert said["prompt_token_ids"] == list(other.prompt_token_ids)


def test_what_a_body_leaves_open_is_as_the_checkpoint_says() -> None:
    defaults = SamplingParams(temperature=1.5, top_k=1)
    with (
        running(replace(toy_loaded(Platform(OraclePlatform())), default_sampling=defaults)) as live,
        OpenAI(base_url=f"{live.url}/v1", api_key="none") as client,
    ):
        greedy = completion(client, temperature=0)["choices"][0]["text"]
        assert completion(client, seed=1)["choices"][0]["text"] == greedy
        assert completion(client, seed=1, top_k=0)["choices"][0]["text"] != greedy


def test_usage_counts_a_prompt_once_and_all_that_was_made(toy: OpenAI) -> None:
    usage = completion(toy, n=2, best_of=3, max_tokens=4, seed=2, ignore_eos=True)["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (len(PROMPT), 12)


def test_remembered_blocks_are_shared_within_a_salt_alone(toy: OpenAI) -> None:
    def cached(salt: str) -> object:
        usage = completion(toy, cache_salt=salt, max_tokens=1)["usage"]
        return usage["prompt_tokens_details"]["cached_tokens"]

    assert [cached(salt) for salt in ("mine", "mine", "other")] == [0, len(PROMPT) // 4 * 4, 0]


@pytest.mark.parametrize(
    ("chat", "wish", "param"),
    [
        (False, {"temperature": 2.5}, "temperature"),
        (False, {"top_p": 0}, "top_p"),
        (False, {"top_k": -2}, "top_k"),
        (False, {"top_k": 1.5}, "top_k"),
        (False, {"min_p": 1.5}, "min_p"),
        (False, {"repetition_penalty": 0}, "repetition_penalty"),
        (False, {"presence_penalty": 2.1}, "presence_penalty"),
        (False, {"frequency_penalty": "1"}, "frequency_penalty"),
        (False, {"logit_bias": {"a": 1}}, "logit_bias.a"),
        (False, {"logit_bias": {"5": 101}}, "logit_bias"),
        (False, {"logit_bias": {"260": 1}}, "logit_bias"),
        (False, {"allowed_token_ids": []}, "allowed_token_ids"),
        (False, {"bad_words": [""]}, "bad_words"),
        (False, {"bad_words": ["x" * 600, "y" * 600]}, "bad_words"),
        (False, {"min_tokens": 17}, "min_tokens"),
        (False, {"seed": 2**63}, "seed"),
        (False, {"n": 0}, "n"),
        (False, {"n": 2, "temperature": 0}, "n"),
        (False, {"n": 16384, "prompt": ["a", "b"]}, "n"),
        (False, {"n": 3, "best_of": 2}, "best_of"),
        (False, {"best_of": 2, "stream": True}, "best_of"),
        (False, {"detokenize": False, "stop": "x"}, "stop"),
        (False, {"logprobs": 21}, "logprobs"),
        (False, {"logprobs": True}, "logprobs"),
        (False, {"logprobs": -2}, "logprobs"),
        (False, {"prompt_logprobs": 21}, "prompt_logprobs"),
        (False, {"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
        (False, {"max_tokens": 0}, "max_tokens"),
        (False, {"cache_salt": ""}, "cache_salt"),
        (False, {"priority": 1}, "priority"),
        (False, {"suffix": "x"}, "suffix"),
        (True, {"logprobs": 2}, "logprobs"),
        (True, {"top_logprobs": 2}, "top_logprobs"),
        (True, {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        (True, {"max_completion_tokens": 2, "min_tokens": 3}, "min_tokens"),
        (True, {"messages": [{"role": "user", "content": "x" * 70}]}, "messages"),
        (True, {"echo": True}, "echo"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_by_the_name_that_the_client_used(
    toy: OpenAI, chat: bool, wish: Wish, param: str
) -> None:
    ask: Callable[..., object] = conversation if chat else completion
    if "stream" in wish:
        ask = partial(chunks, chat=chat)
    with pytest.raises(openai.BadRequestError) as caught:
        ask(toy, **{name: wish[name] for name in wish if name != "stream"})
    assert caught.value.param == param
    assert f"'{param}'" in str(caught.value) or param in ("messages", "n")


def test_a_priority_is_taken_where_the_model_goes_by_priorities() -> None:
    limits = replace(null_limits(), policy="priority")
    made = NullLoaded(engine=null_engine(limits))
    with (
        running(made) as live,
        OpenAI(base_url=f"{live.url}/v1", api_key="none") as client,
    ):
        usage = completion(client, priority=-3, max_tokens=2, ignore_eos=True)["usage"]
    assert usage["completion_tokens"] == 2
