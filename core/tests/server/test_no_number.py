"""A device whose numbers break for one request: its client is told, and others go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

import httpx
import numpy as np
import pytest

from octavo.asking import SamplingParams
from octavo.chat.template import ChatTemplate
from octavo.heart import heart
from octavo.llm import LLM
from octavo.testing.drive import run_on
from octavo.testing.loaded import VOCAB_SIZE, NullLoaded, byte_tokenizer, null_limits
from octavo.testing.null import by_hand
from octavo.testing.random_weights import RandomWeights
from octavo.testing.served import Live, running, until, within
from octavo.testing.sick import SICK, SICK_AT, Sick
from octavo.testing.toy_loaded import LIMITS, ToyLoaded
from octavo.testing.toys import llama
from octavo_platforms.discover import load
from octavo_platforms.tensor import HostTensor

NUM_TOKENS = 40
BODY = {"temperature": 0, "max_tokens": NUM_TOKENS, "ignore_eos": True, "return_token_ids": True}


@pytest.fixture(params=[1, 2], ids=["depth 1", "depth 2"])
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    limits = null_limits()
    engine = heart(Sick(limits), limits).engine(max_in_flight=request.param)
    with running(NullLoaded(engine=engine)) as server:
        yield server


def together(
    live: Live, *bodies: Mapping[str, object], path: str = "completions"
) -> list[httpx.Response]:
    """Ask for several things at the same time."""

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=f"{live.url}/v1/", timeout=60) as client:
            return await asyncio.gather(
                *(client.post(path, json={**BODY, **each}) for each in bodies)
            )

    return within(ask())


def frames(answer: httpx.Response) -> list[dict[str, object]]:
    """Read the events of a stream that was closed as it should."""
    *events, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    found: list[dict[str, object]] = [json.loads(each.removeprefix("data: ")) for each in events]
    return found


def right(prompt: list[int]) -> list[int]:
    return by_hand(prompt, num_tokens=NUM_TOKENS, vocab_size=VOCAB_SIZE)


def check_error(body: object, *, num_tokens: int) -> None:
    assert isinstance(body, dict)
    error = body["error"]
    assert f"After {num_tokens} tokens" in error["message"]
    assert (error["type"], error["code"], error["param"]) == (
        "internal_error",
        "engine_error",
        None,
    )


def check_rest(live: Live, *, num_corrupted: int) -> None:
    """Check that the engine counted, holds nothing, and goes on."""
    until(lambda: not live.loaded.engine.has_work)
    stats = live.loaded.engine.stats
    assert (stats.held_blocks, stats.corrupted) == (0, num_corrupted)
    (after,) = together(live, {"prompt": [9, 9]})
    assert after.json()["choices"][0]["token_ids"] == right([9, 9])


def test_a_whole_answer_without_a_number_is_a_500_and_others_go_on(live: Live) -> None:
    sick, *sound = together(live, {"prompt": [SICK, 2]}, {"prompt": [1, 2]}, {"prompt": [7]})
    assert sick.status_code == 500
    check_error(sick.json(), num_tokens=SICK_AT - 2)
    for answer, prompt in zip(sound, ([1, 2], [7]), strict=True):
        assert answer.json()["choices"][0]["token_ids"] == right(prompt)
        assert answer.json()["choices"][0]["finish_reason"] == "length"
    check_rest(live, num_corrupted=1)


def test_a_stream_without_a_number_gives_its_text_then_an_error_and_others_go_on(
    live: Live,
) -> None:
    sick, sound = together(
        live, {"prompt": [SICK, 2], "stream": True}, {"prompt": [1, 2], "stream": True}
    )
    assert sick.status_code == sound.status_code == 200
    *texts, error = frames(sick)
    check_error(error, num_tokens=SICK_AT - 2)
    shown = [choice for each in texts for choice in each["choices"]]  # type: ignore[attr-defined]
    assert [choice["finish_reason"] for choice in shown] == [None] * len(shown)
    made = [token for choice in shown for token in choice.get("token_ids", ())]
    assert made == right([SICK, 2])[: SICK_AT - 2]
    last = frames(sound)[-1]["choices"]
    assert [choice["finish_reason"] for choice in last] == ["length"]  # type: ignore[attr-defined]
    check_rest(live, num_corrupted=1)


@pytest.mark.parametrize("stream", [True, False])
def test_where_not_even_one_token_can_be_made_the_status_says_so(live: Live, stream: bool) -> None:
    prompt = [SICK, *range(10, 9 + SICK_AT)]
    (answer,) = together(live, {"prompt": prompt, "stream": stream})
    assert answer.status_code == 500
    check_error(answer.json(), num_tokens=0)


def test_one_choice_without_a_number_ends_the_others_of_its_call_alone(live: Live) -> None:
    sick, sound = together(live, {"prompt": [[1, 2], [SICK, 2]]}, {"prompt": [1, 2]})
    assert sick.status_code == 500
    assert sound.json()["choices"][0]["token_ids"] == right([1, 2])
    check_rest(live, num_corrupted=1)


def test_a_conversation_without_a_number_is_an_error_too() -> None:
    """The template is the message alone, whose first letter is the sick token."""
    limits = null_limits()
    engine = heart(Sick(limits), limits).engine()
    letter = byte_tokenizer().token_bytes(SICK).decode()
    chat = ChatTemplate("{{ messages[0].content }}", {})
    with running(NullLoaded(engine=engine, chat=chat)) as live:
        body = {"messages": [{"role": "user", "content": f"{letter}a"}]}
        whole, streamed = together(live, body, body | {"stream": True}, path="chat/completions")
        check_error(whole.json(), num_tokens=SICK_AT - 2)
        *texts, error = frames(streamed)
        check_error(error, num_tokens=SICK_AT - 2)
        assert "chat.completion.chunk" in {each["object"] for each in texts}
        assert live.loaded.engine.stats.corrupted == 2


class Broken(RandomWeights):
    """Random weights in which one token's embedding is no number."""

    def read(self, name: str) -> HostTensor:
        """Make a tensor."""
        found = super().read(name)
        if "embed_tokens" in name:
            found.array[SICK] = np.nan
        return found


@pytest.mark.parametrize("platform", ["oracle", "cpu"])
def test_who_asks_a_real_model_for_what_it_cannot_compute_fails_alone(platform: str) -> None:
    toy = replace(llama.spec(tied_embeddings=False), vocab_size=VOCAB_SIZE)
    program = llama.program(toy, limits=LIMITS)

    def loaded(weights: RandomWeights) -> ToyLoaded:
        on = run_on(load(platform), program, weights, num_blocks=100)
        return ToyLoaded(engine=on.engine(vocab_size=VOCAB_SIZE, max_in_flight=2))

    prompts = [[10, 20, 30], [5] * 9, [7, 8]]
    params = SamplingParams(temperature=0, max_tokens=NUM_TOKENS, ignore_eos=True)
    sound = LLM(loaded(RandomWeights(program))).generate(prompts, params, use_tqdm=False)
    expected = [each.outputs[0].token_ids for each in sound]
    assert not any(SICK in tokens for tokens in expected), "a sound request would be sick as well"
    with running(loaded(Broken(program))) as live:
        for _ in range(2):
            asked = [{"prompt": [10, 20, SICK, 30]}, *({"prompt": prompt} for prompt in prompts)]
            sick, *others = together(live, *asked)
            assert sick.status_code == 500
            check_error(sick.json(), num_tokens=0)
            found = [each.json()["choices"][0]["token_ids"] for each in others]
            assert found == expected
        assert live.loaded.engine.stats.corrupted == 2
