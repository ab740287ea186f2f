"""What `LLM` offers of sampling: several outputs, beams, logprobs, bad words, salts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from octavo import LLM, SamplingParams
from octavo.beams import BeamSearchParams, Search
from octavo.engine import Engine
from octavo.errors import ClientError
from octavo.models.decoder import Limits
from octavo.prompts import NamedPrompt
from octavo.step import Logprobs
from octavo.testing.drive import Running, run_on
from octavo.testing.loaded import VOCAB_SIZE, NullLoaded
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms import shaping
from octavo_platforms.loaded import Platform

SPEC = replace(llama.spec(), vocab_size=VOCAB_SIZE)
LIMITS = Limits(max_step_tokens=64, max_requests=8, max_blocks=16, block_size=4)
PROMPT = list(b"the quick brown fox")


@pytest.fixture(scope="module")
def running() -> Running:
    program = llama.program(SPEC, limits=LIMITS)
    return run_on(Platform(OraclePlatform()), program, RandomWeights(program), num_blocks=100)


@dataclass(frozen=True, slots=True)
class Toy(NullLoaded):
    """The face of the model without weights, around the toy."""

    engine: Engine = field(kw_only=True)
    max_context_tokens: int = 64


@pytest.fixture
def llm(running: Running) -> LLM:
    return LLM(Toy(engine=running.engine(vocab_size=VOCAB_SIZE, max_in_flight=2)))


def test_several_outputs_are_those_of_their_own_seeds_and_share_the_prompt(
    running: Running,
) -> None:
    engine = running.engine(vocab_size=VOCAB_SIZE)
    params = SamplingParams(n=4, seed=7, max_tokens=6)
    (result,) = LLM(Toy(engine=engine)).generate(PROMPT, params, use_tqdm=False)
    assert [each.index for each in result.outputs] == [0, 1, 2, 3]
    assert engine.stats.prefix_hit_tokens == 3 * (len(PROMPT) // 4 * 4)
    assert engine.stats.held_blocks == 0
    for index, each in enumerate(result.outputs):
        alone = LLM(Toy(engine=running.engine(vocab_size=VOCAB_SIZE)))
        one = SamplingParams(seed=7 + index, max_tokens=6)
        (expected,) = alone.generate(PROMPT, one, use_tqdm=False)
        assert each.token_ids == expected.outputs[0].token_ids
    assert len({tuple(each.token_ids) for each in result.outputs}) == 4


def test_the_best_of_several_have_the_likeliest_tokens_on_average(llm: LLM) -> None:
    params = SamplingParams(n=6, seed=1, max_tokens=5, logprobs=0)
    (every,) = llm.generate(PROMPT, params, use_tqdm=False)
    assert every.outputs[0].cumulative_logprob is not None
    ranked = sorted(
        every.outputs,
        key=lambda each: -(each.cumulative_logprob or math.inf) / len(each.token_ids),
    )
    best = SamplingParams(n=2, best_of=6, seed=1, max_tokens=5)
    (result,) = llm.generate(PROMPT, best, use_tqdm=False)
    assert [each.token_ids for each in result.outputs] == [each.token_ids for each in ranked[:2]]
    assert result.outputs[0].logprobs is None
    assert result.outputs[0].cumulative_logprob is None


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"n": 0}, "n"),
        ({"n": 2, "temperature": 0}, "n"),
        ({"n": 3, "best_of": 2}, "best_of"),
        ({"best_of": 2, "temperature": 0}, "best_of"),
        ({"bad_words": ["a", ""]}, "bad_words"),
        ({"bad_words": "a"}, "bad_words"),
        ({"stop": ["a"], "detokenize": False}, "stop"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(asked: dict[str, object], param: str) -> None:
    with pytest.raises(ClientError, match=f"'{param}' is") as caught:
        SamplingParams(**asked)  # type: ignore[arg-type]
    assert caught.value.param == param


def test_logprobs_are_given_by_token_with_their_ranks(llm: LLM, running: Running) -> None:
    params = SamplingParams(seed=3, max_tokens=5, logprobs=2, prompt_logprobs=1)
    (result,) = llm.generate(PROMPT, params, use_tqdm=False)
    (output,) = result.outputs
    assert output.logprobs is not None
    assert result.prompt_logprobs is not None
    assert len(output.logprobs) == 5
    context = [*PROMPT, *output.token_ids]
    exact = shaping.logprobs(running.logits(context))
    told = [*result.prompt_logprobs[1:], *output.logprobs]
    assert result.prompt_logprobs[0] is None
    for place, (each, token) in enumerate(zip(told, context[1:], strict=True)):
        assert each is not None
        row = exact[place]
        assert next(iter(each)) == token
        assert abs(each[token].logprob - row[token]) < 1e-5
        assert each[token].rank == 1 + int((row > row[token]).sum())
        likeliest = int(row.argmax())
        assert each[likeliest].rank == 1
        assert len(each) in ((2, 3) if place >= len(PROMPT) - 1 else (1, 2))
    own = [each[token].logprob for each, token in zip(output.logprobs, context[-5:], strict=True)]
    assert output.cumulative_logprob == pytest.approx(sum(own))


def test_a_bad_word_is_in_no_output_with_a_space_before_it_or_without(llm: LLM) -> None:
    letters = NullLoaded().tokenizer.encode("ab ", add_special_tokens=False)
    free = SamplingParams(seed=3, temperature=2, max_tokens=40, allowed_token_ids=letters)
    (every,) = llm.generate(PROMPT, free, use_tqdm=False)
    assert "ab" in every.outputs[0].text
    assert "bb" in every.outputs[0].text
    (clean,) = llm.generate(PROMPT, replace(free, bad_words=["ab", " bb"]), use_tqdm=False)
    assert set(clean.outputs[0].text) == set("ab ")
    assert "ab" not in clean.outputs[0].text
    assert "bb" not in clean.outputs[0].text


def test_an_output_need_not_be_text(llm: LLM) -> None:
    params = SamplingParams(temperature=0, max_tokens=6)
    (text,) = llm.generate(PROMPT, params, use_tqdm=False)
    (ids,) = llm.generate(PROMPT, replace(params, detokenize=False), use_tqdm=False)
    assert ids.outputs[0].text == ""
    assert ids.outputs[0].token_ids == text.outputs[0].token_ids


def test_what_is_remembered_is_shared_where_the_salt_is_equal(running: Running) -> None:
    engine = running.engine(vocab_size=VOCAB_SIZE)
    llm, params = LLM(Toy(engine=engine)), SamplingParams(temperature=0, max_tokens=1)

    def hits(salt: str) -> int:
        prompt: NamedPrompt = {"prompt_token_ids": PROMPT, "cache_salt": salt}
        (result,) = llm.generate(prompt, params, use_tqdm=False)
        return result.num_cached_tokens

    assert [hits("a"), hits("b"), hits("a")] == [0, 0, 16]


def test_beams_are_the_best_by_the_toys_own_logprobs(llm: LLM, running: Running) -> None:
    params = BeamSearchParams(beam_width=3, max_tokens=4, ignore_eos=True)
    (result,) = llm.beam_search(PROMPT, params)
    beams: list[tuple[float, list[int]]] = [(0.0, [])]
    for _ in range(4):
        found = []
        for total, tokens in beams:
            row = shaping.logprobs(running.logits([*PROMPT, *tokens])[-1])
            found += [
                (total + float(row[token]), [*tokens, int(token)]) for token in row.argsort()[-8:]
            ]
        beams = sorted(found, reverse=True)[:3]
    assert [each.token_ids for each in result.outputs] == [tokens for _, tokens in beams]
    for each, (total, _) in zip(result.outputs, beams, strict=True):
        assert each.cumulative_logprob == pytest.approx(total, abs=1e-5)
        assert each.finish_reason == "length"


def table(*rows: dict[int, float]) -> list[Logprobs]:
    """Give what is told of one token of each of some beams."""
    found = []
    for row in rows:
        ranked = sorted(row.items(), key=lambda item: -item[1])
        ids = np.array([[token for token, _ in ranked]], np.int32)
        values = np.log(np.array([[share for _, share in ranked]], np.float32))
        found.append(Logprobs(values[:, 0], np.zeros(1, np.int32), ids, values))
    return found


def search(**changed: float) -> Search:
    params = BeamSearchParams(beam_width=2, max_tokens=3, **changed)  # type: ignore[arg-type]
    return Search([9], params.max_tokens, params, frozenset({0}))


def test_a_beam_that_ends_is_kept_by_its_score_and_others_go_on() -> None:
    beams = search()
    beams.advance(table({1: 0.5, 0: 0.3, 2: 0.15, 3: 0.05}))
    assert [beam.tokens for beam in beams.alive] == [(1,), (2,)]
    assert [beam.tokens for beam in beams.ended] == [(0,)]
    beams.advance(table({0: 0.9, 1: 0.1}, {1: 0.5, 2: 0.5}))
    assert [beam.tokens for beam in beams.ended] == [(1, 0), (0,)]
    assert [beam.tokens for beam in beams.alive] == [(2, 1), (2, 2)]


@pytest.mark.parametrize(("penalty", "goes_on"), [(-1.0, False), (0.0, False), (3.0, True)])
def test_a_search_ends_when_nothing_that_goes_on_can_be_among_the_best(
    penalty: float, goes_on: bool
) -> None:
    beams = search(length_penalty=penalty)
    beams.advance(table({0: 0.55, 1: 0.45}))
    beams.advance(table({0: 0.5, 1: 0.25, 2: 0.25}))
    assert len(beams.ended) == 2
    assert bool(beams.alive) is goes_on


def test_beams_that_reach_the_most_tokens_have_ended() -> None:
    beams = search()
    for _ in range(3):
        beams.advance(table(*[{1: 0.6, 2: 0.4}] * len(beams.alive)))
    assert beams.alive == []
    assert [beam.tokens for beam in beams.ended] == [(1, 1, 1), (1, 1, 2)]
    assert {beam.reason for beam in beams.ended} == {"length"}


def test_more_beams_than_logprobs_are_told_are_refused(llm: LLM) -> None:
    with pytest.raises(ClientError, match="at most 20"):
        llm.beam_search(PROMPT, BeamSearchParams(beam_width=11, max_tokens=2))
    (after,) = llm.generate(PROMPT, SamplingParams(max_tokens=1), use_tqdm=False)
    assert len(after.outputs[0].token_ids) == 1
