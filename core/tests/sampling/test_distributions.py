"""The sampler against exact distributions: thousands of draws with fixed seeds, chi-square.

Expected shares are written out here from the definition of each parameter, not by the code
that is tested.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from octavo.sampling import SamplingParams, choose, sampling_words
from octavo.sampling.reference import Choice
from octavo_platforms import shaping

NUM_DRAWS = 20_000
SHARES = np.array([0.3, 0.22, 0.16, 0.12, 0.1, 0.06, 0.04])

Ints = npt.NDArray[np.int32]


def drawn(params: SamplingParams, *, prompt: Sequence[int], output: Sequence[int]) -> Ints:
    """Count how often each id is chosen, with a seed of its own for each draw."""
    made = np.array(output, np.int32)
    prompt_ids = np.array(prompt, np.int32)
    choice = Choice(params=params, seed=0, prompt_ids=prompt_ids)
    logits = choice.shaped(np.log(SHARES).astype(np.float32), made)[None]
    left = shaping.truncated(
        logits,
        np.array([params.temperature], np.float32),
        np.array([params.top_k], np.int32),
        np.array([[params.top_p, params.min_p]], np.float32),
    )
    words = np.array([sampling_words(params.temperature, seed) for seed in range(NUM_DRAWS)])
    position = np.full(NUM_DRAWS, len(prompt) + len(output), np.int32)
    rows = np.repeat(left, NUM_DRAWS, axis=0)
    tokens = choose(rows, words=words.astype(np.uint32), position=position)
    # the row as a whole goes the same way
    first = Choice(params=params, seed=3, prompt_ids=prompt_ids)
    assert first.token(np.log(SHARES).astype(np.float32), made) == tokens[3]
    return np.bincount(tokens, minlength=len(SHARES)).astype(np.int32)


def is_likely(counts: Ints, weights: npt.NDArray[np.float64]) -> bool:
    """Tell whether counts fit a distribution: chi-square within six deviations of its mean."""
    expected = weights / weights.sum() * NUM_DRAWS
    possible = expected > 0
    if counts[~possible].any():
        return False
    freedom = int(possible.sum()) - 1
    distance = float(((counts - expected)[possible] ** 2 / expected[possible]).sum())
    return distance <= freedom + 6 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_temperature_is_a_power_of_the_shares(temperature: float) -> None:
    counts = drawn(SamplingParams(temperature=temperature), prompt=[0], output=[])
    assert is_likely(counts, SHARES ** (1 / temperature))
    assert not is_likely(counts, SHARES ** (1 / (temperature * 1.1)))


def test_top_k_leaves_the_likeliest_their_proportions() -> None:
    counts = drawn(SamplingParams(top_k=3), prompt=[0], output=[])
    assert is_likely(counts, np.where(np.arange(7) < 3, SHARES, 0))


def test_top_p_leaves_as_many_as_reach_it() -> None:
    counts = drawn(SamplingParams(top_p=0.75), prompt=[0], output=[])
    assert is_likely(counts, np.where(np.arange(7) < 4, SHARES, 0))


def test_min_p_leaves_what_is_large_beside_the_largest() -> None:
    counts = drawn(SamplingParams(min_p=0.35), prompt=[0], output=[])
    assert is_likely(counts, np.where(SHARES >= 0.35 * 0.3, SHARES, 0))


def test_penalties_move_shares_by_their_exponents() -> None:
    params = SamplingParams(presence_penalty=0.5, frequency_penalty=0.25)
    counts = drawn(params, prompt=[2, 2], output=[0, 1, 0])
    lowered = np.array([np.exp(-1.0), np.exp(-0.75), 1, 1, 1, 1, 1])
    assert is_likely(counts, SHARES * lowered)


def test_repetition_is_a_power_of_what_was_seen() -> None:
    counts = drawn(SamplingParams(repetition_penalty=1.5), prompt=[2], output=[0])
    powers = np.array([1.5, 1, 1.5, 1, 1, 1, 1])  # logarithms of shares are negative
    assert is_likely(counts, SHARES**powers)


def test_all_of_it_together() -> None:
    params = SamplingParams(
        temperature=0.8, top_k=5, top_p=0.9, min_p=0.1, frequency_penalty=0.5,
        logit_bias={6: 1.5}, bad_token_ids=[[1]],
    )  # fmt: skip
    counts = drawn(params, prompt=[0], output=[0])
    weights = SHARES.copy()
    weights[0] *= np.exp(-0.5)
    weights[6] *= np.exp(1.5)
    weights[1] = 0
    weights **= 1 / 0.8
    weights[weights < 0.1 * weights.max()] = 0
    order = np.argsort(-weights)
    weights[order[5:]] = 0
    above = np.concatenate([[0], np.cumsum(weights[order])[:-1]]) / weights.sum()
    weights[order[above >= 0.9]] = 0
    assert is_likely(counts, weights)
