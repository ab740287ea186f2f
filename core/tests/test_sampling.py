"""What a client may ask for, and the token that it chooses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from octavo.errors import ClientError
from octavo.sampling import SamplingParams, choose, derived_seed, sampling_words
from octavo_platforms.philox import gumbel

BAD: list[tuple[str, list[object]]] = [
    ("temperature", [-0.1, 2.1, math.nan, "1", True, None]),
    ("seed", [2**63, -(2**63) - 1, 1.5, True]),
    ("max_tokens", [0, -1, 1.0, True, "5"]),
    ("ignore_eos", [1, None]),
    ("stop_token_ids", [[-1], "12", 7, [1.5], range(65)]),
]


@pytest.mark.parametrize(
    ("param", "value"), [(param, value) for param, values in BAD for value in values]
)
def test_a_parameter_out_of_its_range_is_refused_by_name(param: str, value: object) -> None:
    with pytest.raises(ClientError, match=param) as caught:
        SamplingParams(**{param: value})  # type: ignore[arg-type]
    assert caught.value.param == param


def test_the_limits_themselves_are_accepted() -> None:
    params = SamplingParams(
        temperature=2, seed=-(2**63), max_tokens=1, stop_token_ids=list(range(64))
    )
    assert params.stop_token_ids == tuple(range(64))


def row(temperature: float, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    return np.array([sampling_words(temperature, seed)], np.uint32)


def at(position: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    return np.array([position], np.int32)


def test_greedy_takes_the_lowest_id_of_equal_logits() -> None:
    logits = np.array([[0, 3, 1, 3]], np.float32)
    assert choose(logits, words=row(0.0, 5), position=at(9)).tolist() == [1]


def test_a_temperature_too_small_to_divide_by_is_greedy() -> None:
    assert sampling_words(1e-6, 1)[0] == sampling_words(1e-300, 1)[0] == 0
    assert sampling_words(1e-5, 1)[0] != 0


def test_a_negative_seed_is_the_bits_of_its_64_bit_integer() -> None:
    assert sampling_words(1.0, -1)[1:] == (0xFFFFFFFF, 0xFFFFFFFF)
    assert sampling_words(1.0, -(2**63))[1:] == (0, 0x80000000)


def test_a_drawn_token_is_the_largest_of_tempered_logits_and_noise() -> None:
    seed, position = (3 << 32) + 17, 41
    logits = np.linspace(-2, 2, 50, dtype=np.float32)[None]
    noisy = logits[0] / np.float32(0.5) + gumbel(seed, position, 50)
    assert choose(logits, words=row(0.5, seed), position=at(position))[0] == noisy.argmax()


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
