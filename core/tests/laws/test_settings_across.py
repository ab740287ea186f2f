"""Whatever is asked of sampling, an engine process gives what an engine in this process gives.

The toy on the oracle offers all of sampling; it is asked the same at both ends, with settings that
are drawn at random. Code of a client's own does not travel, and is refused by its name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octavo.asking import SamplingParams
from octavo.async_llm import AsyncLLM
from octavo.beams import BeamSearchParams
from octavo.errors import UnsupportedParameter
from octavo.llm import LLM
from octavo.outputs import CompletionOutput, Logprob, RequestOutput
from octavo.prompts import NamedPrompt
from octavo.testing.loaded import VOCAB_SIZE
from octavo.testing.places import Place, opened, sizes
from octavo.testing.served import within
from octavo.testing.toy_loaded import load_toy, toy_loaded
from octavo_platforms.discover import load

NUM_EXAMPLES = 12
ids = st.integers(0, VOCAB_SIZE - 1)
words = st.text(st.sampled_from("aehrst"), min_size=1, max_size=3)
texts = st.text(st.sampled_from("abehlorst ?"), min_size=1, max_size=3)


@dataclass(frozen=True, slots=True)
class Pair:
    """The same toy here and across the boundary."""

    here: Place
    across: Place

    def hold(self, prompts: Sequence[NamedPrompt], params: Sequence[SamplingParams]) -> None:
        """Ask both the same, and hold their results against each other."""
        for one, other in zip(
            self.here.generate(prompts, params), self.across.generate(prompts, params), strict=True
        ):
            check_same(one, other)


@pytest.fixture(scope="module", params=[1, 2], ids=["depth 1", "depth 2"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    asked = sizes(tmp_path_factory.mktemp("toy"), depth=request.param)
    with ExitStack() as stack:
        yield Pair(
            stack.enter_context(opened("here", asked, load_toy)),
            stack.enter_context(opened("across", asked, load_toy)),
        )


def check_same(one: RequestOutput, other: RequestOutput) -> None:
    """Hold results against each other: all but how likely things were is equal."""
    assert one.prompt_token_ids == other.prompt_token_ids
    assert one.finished
    assert other.finished
    assert [plain(each) for each in one.outputs] == [plain(each) for each in other.outputs]
    for here, across in zip(one.outputs, other.outputs, strict=True):
        check_told(here.logprobs, across.logprobs)
        assert here.cumulative_logprob == pytest.approx(across.cumulative_logprob, abs=1e-4)
    check_told(one.prompt_logprobs, other.prompt_logprobs)


def plain(output: CompletionOutput) -> CompletionOutput:
    return replace(output, logprobs=None, cumulative_logprob=None)


def check_told(
    one: Sequence[dict[int, Logprob] | None] | None,
    other: Sequence[dict[int, Logprob] | None] | None,
) -> None:
    assert (one is None) == (other is None)
    for here, across in zip(one or (), other or (), strict=True):
        assert (here is None) == (across is None)
        assert list(here or ()) == list(across or ())
        for told, heard in zip((here or {}).values(), (across or {}).values(), strict=True):
            assert (told.rank, told.decoded_token) == (heard.rank, heard.decoded_token)
            assert told.logprob == pytest.approx(heard.logprob, abs=1e-5)


@st.composite
def params(draw: st.DrawFn) -> SamplingParams:
    """Draw settings, most of which say nothing of most things, as clients' do."""
    maybe = st.booleans
    temperature = draw(st.sampled_from([0.0, 0.7, 1.0]))
    several = draw(st.integers(1, 3)) if temperature else 1
    most = draw(st.integers(1, 20))
    return SamplingParams(
        temperature=temperature,
        seed=draw(st.integers(-(2**63), 2**63 - 1)),
        n=several,
        best_of=several + 1 if temperature and draw(maybe()) else None,
        max_tokens=most,
        min_tokens=draw(st.integers(0, most)),
        ignore_eos=draw(maybe()),
        stop=draw(st.lists(texts, max_size=2)),
        include_stop_str_in_output=draw(maybe()),
        stop_token_ids=draw(st.lists(ids, max_size=3)),
        skip_special_tokens=draw(maybe()),
        top_k=draw(st.sampled_from([0, 0, 3, 20])),
        top_p=draw(st.sampled_from([1.0, 0.8])),
        min_p=draw(st.sampled_from([0.0, 0.05])),
        repetition_penalty=draw(st.sampled_from([1.0, 1.3])),
        presence_penalty=draw(st.sampled_from([0.0, 0.6])),
        frequency_penalty=draw(st.sampled_from([0.0, -0.4])),
        logit_bias=draw(st.none() | st.dictionaries(ids, st.floats(-5, 5), max_size=3)),
        allowed_token_ids=draw(st.none() | st.none() | st.lists(ids, min_size=5, max_size=40)),
        bad_words=draw(st.lists(words, max_size=2)),
        logprobs=draw(st.none() | st.integers(0, 4)),
        prompt_logprobs=draw(st.none() | st.none() | st.integers(0, 3)),
    )


@st.composite
def calls(draw: st.DrawFn) -> list[tuple[NamedPrompt, SamplingParams]]:
    """Draw some prompts that are asked together; several begin alike."""
    stem = draw(st.lists(ids, min_size=1, max_size=12))
    tails = draw(st.lists(st.lists(ids, max_size=8), min_size=1, max_size=4))
    prompts: list[NamedPrompt] = [{"prompt_token_ids": [*stem, *tail]} for tail in tails]
    return [(prompt, draw(params())) for prompt in prompts]


@settings(
    max_examples=NUM_EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(asked=calls())
def test_any_settings_give_the_same_across_the_boundary(
    pair: Pair, asked: list[tuple[NamedPrompt, SamplingParams]]
) -> None:
    pair.hold([prompt for prompt, _ in asked], [each for _, each in asked])


def test_all_that_is_told_of_a_prompt_and_of_its_outputs_travels(pair: Pair) -> None:
    """The same once by hand, so that no draw decides whether it is held."""
    every = SamplingParams(
        seed=3, n=3, max_tokens=12, logprobs=3, prompt_logprobs=2, stop=["e", "zq"], min_tokens=4
    )
    best = SamplingParams(seed=4, n=2, best_of=4, max_tokens=6, ignore_eos=True)
    prompt: NamedPrompt = {"prompt_token_ids": list(range(40, 60))}
    pair.hold([prompt, prompt], [every, best])


@pytest.mark.parametrize("params", [
    BeamSearchParams(beam_width=2, max_tokens=5),
    BeamSearchParams(beam_width=4, max_tokens=3, length_penalty=-0.5, ignore_eos=True),
])  # fmt: skip
@pytest.mark.parametrize("depth", [1, 2])
def test_beams_are_the_same_across_the_boundary(depth: int, params: BeamSearchParams) -> None:
    prompts = [list(b"the quick"), list(b"brown fox")]
    here = LLM(toy_loaded(load("oracle"), max_in_flight=depth)).beam_search(prompts, params)
    llm = AsyncLLM(toy_loaded(load("oracle"), max_in_flight=depth))

    async def ask() -> list[RequestOutput]:
        return await asyncio.gather(*(llm.beam_search(prompt, params) for prompt in prompts))

    try:
        across = within(ask())
    finally:
        llm.close()
    for one, other in zip(here, across, strict=True):
        check_same(one, other)
        assert len(one.outputs) == params.beam_width


def test_code_is_refused_across_the_boundary_and_runs_here(pair: Pair) -> None:
    """What an edited logit does here, a bias does at both ends."""

    def only(
        prompt_ids: npt.NDArray[np.int32],
        output_ids: npt.NDArray[np.int32],
        logits: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float32]:
        logits[9] += 100
        return logits

    plain = SamplingParams(temperature=0, max_tokens=4)
    coded = replace(plain, logits_processors=[only])
    biased = replace(plain, logit_bias={9: 100.0})
    prompt: NamedPrompt = {"prompt_token_ids": [3, 4, 5]}
    (found,) = pair.here.generate([prompt], [coded])
    (same,) = pair.across.generate([prompt], [biased])
    assert found.outputs[0].token_ids == same.outputs[0].token_ids == [9] * 4
    with pytest.raises(UnsupportedParameter, match="use LLM"):
        pair.across.generate([prompt], [coded])
