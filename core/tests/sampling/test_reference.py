"""The reference by hand-made cases: each transform alone, their order, and another library."""

from __future__ import annotations

import math
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import pytest

from octavo.sampling import SamplingParams, choose, derived_seed, sampling_words
from octavo.sampling.reference import Choice, forbidden
from octavo_platforms import shaping
from octavo_platforms.philox import gumbel, philox4x32

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
INF = math.inf


def ids(*tokens: int) -> Ints:
    return np.array(tokens, np.int32)


def floats(*values: float) -> Floats:
    return np.array(values, np.float32)


def shaped(logits: Floats, params: SamplingParams, *, prompt: Ints, output: Ints) -> list[float]:
    choice = Choice(params=params, seed=0, prompt_ids=prompt, stop_ids=params.stop_token_ids)
    found: list[float] = choice.shaped(logits, output).tolist()
    return found


def kept(scores: list[float], *, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0) -> str:
    found = shaping.is_kept(floats(*scores), top_k, top_p, min_p)
    return "".join("x" if each else "." for each in found.tolist())


def row(temperature: float, seed: int) -> npt.NDArray[np.uint32]:
    return np.array([sampling_words(temperature, seed)], np.uint32)


def test_greedy_takes_the_lowest_id_of_equal_logits() -> None:
    logits = floats(0, 3, 1, 3)[None]
    assert choose(logits, words=row(0.0, 5), position=ids(9)).tolist() == [1]


def test_a_temperature_below_a_hundredth_counts_as_that_and_zero_is_greedy() -> None:
    least = sampling_words(0.01, 1)
    assert sampling_words(1e-6, 1) == sampling_words(0.009, 1) == least
    assert sampling_words(0.0, 1)[0] == 0
    assert sampling_words(0.011, 1) != least


def test_a_negative_seed_is_the_bits_of_its_64_bit_integer() -> None:
    assert sampling_words(1.0, -1)[1:] == (0xFFFFFFFF, 0xFFFFFFFF)
    assert sampling_words(1.0, -(2**63))[1:] == (0, 0x80000000)


def test_a_drawn_token_is_the_largest_of_tempered_logits_and_noise() -> None:
    seed, position = (3 << 32) + 17, 41
    logits = np.linspace(-2, 2, 50, dtype=np.float32)[None]
    noisy = logits[0] / np.float32(0.5) + gumbel(seed, position, 50)
    assert choose(logits, words=row(0.5, seed), position=ids(position))[0] == noisy.argmax()


def test_greedy_and_drawn_rows_of_a_batch_do_not_change_each_other() -> None:
    logits = np.random.default_rng(1).normal(size=(6, 40)).astype(np.float32)
    words = np.concatenate([row(0.9 * (index % 2), index) for index in range(6)])
    position = np.arange(6, dtype=np.int32)
    together = choose(logits, words=words, position=position)
    for index in range(6):
        one = slice(index, index + 1)
        alone = choose(logits[one], words=words[one], position=position[one])
        assert alone[0] == together[index]


def test_derived_seeds_differ_by_arrival_and_engine_and_fit_a_signed_integer() -> None:
    seeds = {derived_seed(engine, arrival) for engine in range(8) for arrival in range(64)}
    assert len(seeds) == 8 * 64
    assert min(seeds) >= 0
    assert max(seeds) < 2**63
    assert derived_seed(3, 4) == derived_seed(3, 4)


@pytest.mark.parametrize("engine", [0, 7, -1, 2**63 - 1])
@pytest.mark.parametrize("arrival", [0, 1, 63, 64, 2**32 - 1, 2**32, 2**40 + 5])
def test_a_derived_seed_is_that_of_its_own_arrival_whichever_were_asked_for(
    engine: int, arrival: int
) -> None:
    key = np.array([engine & 0xFFFFFFFF, (engine >> 32) & 0xFFFFFFFF], np.uint32)
    counter = np.array([arrival & 0xFFFFFFFF, arrival >> 32, 1 << 31, 0], np.uint32)
    low, high, *_ = philox4x32(counter, key).tolist()
    assert derived_seed(engine, arrival) == (high & 0x7FFFFFFF) << 32 | low


def test_what_is_not_allowed_is_forbidden_and_a_bias_is_added() -> None:
    params = SamplingParams(allowed_token_ids=[1, 3], logit_bias={1: 2.5, 2: 9.0, 3: -1.0})
    assert shaped(floats(5, 6, 7, 8), params, prompt=ids(0), output=ids()) == [-INF, 8.5, -INF, 7]


def test_a_bad_word_is_stopped_at_its_last_token_and_only_after_its_others() -> None:
    params = SamplingParams(bad_token_ids=[[4], [1, 2, 3], [2, 2]])
    assert forbidden(params, (), ids()) == [4]
    assert forbidden(params, (), ids(1, 2)) == [4, 3, 2]
    assert forbidden(params, (), ids(2, 1)) == [4]
    assert forbidden(params, (), ids(5, 2)) == [4, 2]


def test_a_bad_word_does_not_begin_in_the_prompt() -> None:
    params = SamplingParams(bad_token_ids=[[1, 2]])
    flat = floats(0, 0, 0)
    assert shaped(flat, params, prompt=ids(0, 1), output=ids()) == [0, 0, 0]
    assert shaped(flat, params, prompt=ids(0), output=ids(1)) == [0, 0, -INF]


def test_nothing_ends_an_output_before_it_has_its_least_tokens() -> None:
    params = SamplingParams(min_tokens=2, stop_token_ids=[2], logit_bias={2: 50.0})
    for output, last in ((ids(), -INF), (ids(1), -INF), (ids(1, 1), 50.0)):
        assert shaped(floats(0, 0, 0), params, prompt=ids(2), output=output) == [0, 0, last]


def test_repetition_counts_in_the_whole_context_and_turns_on_the_sign() -> None:
    params = SamplingParams(repetition_penalty=2.0)
    found = shaped(floats(4, -4, 4, 0), params, prompt=ids(0, 1), output=ids(1))
    assert found == [2, -8, 4, 0]


def test_presence_and_frequency_count_in_the_output_alone() -> None:
    params = SamplingParams(presence_penalty=0.5, frequency_penalty=0.25)
    found = shaped(floats(1, 1, 1, 1), params, prompt=ids(0, 0, 3), output=ids(1, 2, 1, 1))
    assert found == [1, 1 - 0.5 - 0.75, 1 - 0.5 - 0.25, 1]


def test_a_bias_is_penalised_and_a_penalty_is_not_biased() -> None:
    params = SamplingParams(logit_bias={0: 6.0}, repetition_penalty=2.0)
    assert shaped(floats(-2, 0), params, prompt=ids(0), output=ids()) == [2, 0]


def test_a_processor_sees_prompt_and_output_after_the_bias_and_before_penalties() -> None:
    heard: list[tuple[list[int], list[int], list[float]]] = []

    def double(prompt_ids: Ints, output_ids: Ints, logits: Floats) -> Floats:
        heard.append((prompt_ids.tolist(), output_ids.tolist(), logits.tolist()))
        return logits * 2

    params = SamplingParams(
        logit_bias={1: 1.0}, presence_penalty=1.0, logits_processors=[double, double]
    )
    found = shaped(floats(1, 1), params, prompt=ids(0), output=ids(1, 1))
    assert heard == [([0], [1, 1], [1, 2]), ([0], [1, 1], [2, 4])]
    assert found == [4, 8 - 1]


@pytest.mark.parametrize(
    ("scores", "top_k", "expected"),
    [
        ([1, 3, 2, 0], 0, "xxxx"),
        ([1, 3, 2, 0], 1, ".x.."),
        ([1, 3, 2, 0], 2, ".xx."),
        ([1, 3, 2, 0], 9, "xxxx"),
        ([2, 3, 2, 2], 2, "xxxx"),
        ([3, 3, 2, 0], 1, "xx.."),
        ([-INF, 3, -INF, 0], 3, "xxxx"),
    ],
)
def test_top_k_keeps_ids_with_fewer_than_k_likelier_ones(
    scores: list[float], top_k: int, expected: str
) -> None:
    assert kept(scores, top_k=top_k) == expected


@pytest.mark.parametrize(
    ("shares", "top_p", "expected"),
    [
        ([0.5, 0.3, 0.2], 0.4, "x.."),
        ([0.5, 0.3, 0.2], 0.6, "xx."),
        ([0.2, 0.3, 0.5], 0.9, "xxx"),
        ([0.25, 0.25, 0.25, 0.25], 0.1, "xxxx"),
        ([0.4, 0.3, 0.3], 0.5, "xxx"),
        ([0.4, 0.3, 0.3], 0.3, "x.."),
    ],
)
def test_top_p_keeps_ids_until_the_likelier_ones_have_that_share(
    shares: list[float], top_p: float, expected: str
) -> None:
    assert kept(np.log(shares).tolist(), top_p=top_p) == expected


def test_min_p_keeps_ids_by_their_part_of_the_largest_share() -> None:
    scores = np.log([0.5, 0.3, 0.15, 0.05]).tolist()
    assert kept(scores, min_p=0.29) == "xxx."
    assert kept(scores, min_p=0.31) == "xx.."
    assert kept(scores, min_p=1.0) == "x..."


def test_each_cut_is_made_in_what_the_one_before_left() -> None:
    scores = np.log([0.4, 0.3, 0.2, 0.1]).tolist()
    assert kept(scores, top_p=0.55) == "xx.."
    # of the two likeliest alone, the first has 4/7 and is enough
    assert kept(scores, top_k=2, top_p=0.55) == "x..."
    assert kept(scores, min_p=0.6, top_p=0.55) == "x..."


def test_a_greedy_row_is_not_cut_and_a_cut_row_is_not_otherwise_changed() -> None:
    logits = np.stack([floats(3, 2, 1), floats(3, 2, 1)])
    found = shaping.truncated(logits, floats(0, 0.5), ids(1, 2), np.tile(floats(0.1, 0.0), (2, 1)))
    assert found.tolist() == [[3, 2, 1], [3, -INF, -INF]]


def test_the_temperature_comes_before_the_cuts() -> None:
    logits = np.log(floats(0.5, 0.3, 0.2))
    choice = Choice(
        params=SamplingParams(temperature=0.1, top_p=0.9, seed=0), seed=0, prompt_ids=ids(0)
    )
    cold = [choice.token(logits, np.zeros(count, np.int32)) for count in range(200)]
    assert set(cold) == {0}


def test_the_likeliest_stand_in_order_and_equal_ones_by_their_id() -> None:
    logits = np.array([[1, 3, 3, 2, 3]], np.float32)
    found, shares = shaping.most_likely(logits, 4)
    assert found.tolist() == [[1, 2, 4, 3]]
    exact = logits[0].astype(np.float64)
    exact -= np.log(np.exp(exact).sum())
    assert np.allclose(shares[0], exact[found[0]], rtol=1e-12)


class Tensor(Protocol):
    """What is used of a torch tensor."""

    def numpy(self) -> Floats: ...

    def __getitem__(self, index: int) -> Tensor: ...


@pytest.mark.parametrize("draw", range(4))
def test_transforms_are_those_of_transformers(draw: int) -> None:
    torch = pytest.importorskip("torch")
    process = pytest.importorskip("transformers.generation.logits_process")
    random = np.random.default_rng(draw)
    logits = random.normal(size=40).astype(np.float32) * 3
    prompt, output = (random.integers(0, 40, count).astype(np.int32) for count in (7, 5))
    context = torch.from_numpy(np.concatenate([prompt, output]).astype(np.int64))[None]

    def theirs(made: object, scores: Floats) -> list[float]:
        assert callable(made)
        found = cast(Tensor, made(context, torch.from_numpy(scores.copy())[None]))
        listed: list[float] = found[0].numpy().tolist()
        return listed

    def ours(params: SamplingParams) -> list[float]:
        return shaped(logits, params, prompt=prompt, output=output)

    assert ours(SamplingParams(repetition_penalty=1.3)) == theirs(
        process.RepetitionPenaltyLogitsProcessor(1.3), logits
    )
    bad = [[3], [int(output[-1]), 9], [int(output[-2]), int(output[-1]), 11], [1, 2, 12]]
    assert ours(SamplingParams(bad_token_ids=bad)) == theirs(
        process.NoBadWordsLogitsProcessor(bad), logits
    )
    bias = {4: 2.5, 9: -1.25}
    assert ours(SamplingParams(logit_bias=bias)) == theirs(
        process.SequenceBiasLogitsProcessor({(token,): each for token, each in bias.items()}),
        logits,
    )
    for warper, cuts in (
        (process.TopKLogitsWarper(5), (5, 1.0, 0.0)),
        (process.TopPLogitsWarper(0.8), (0, 0.8, 0.0)),
        (process.MinPLogitsWarper(0.2), (0, 1.0, 0.2)),
    ):
        left = np.where(shaping.is_kept(logits, *cuts), logits, -np.inf)
        assert left.tolist() == theirs(warper, logits)
