"""The generator against its authors' vectors, and the noise against what it should follow.

Does not know: who draws tokens with it.
"""

from __future__ import annotations

import numpy as np
import pytest

from octavo_platforms.philox import gumbel, philox4x32, uniform

# Source: the known-answer file of Random123 (kat_vectors), philox4x32 with 10 rounds.
KNOWN_ANSWERS = [
    ("00000000" * 4, "00000000" * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff" * 4, "ffffffff" * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def words(text: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    return np.frombuffer(bytes.fromhex(text), ">u4").astype(np.uint32)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(counter: str, key: str, answer: str) -> None:
    assert philox4x32(words(counter), words(key)).tolist() == words(answer).tolist()


def test_philox_treats_each_row_of_many_as_it_does_one() -> None:
    counters = np.stack([words(counter) for counter, _, _ in KNOWN_ANSWERS])
    keys = np.stack([words(key) for _, key, _ in KNOWN_ANSWERS])
    answers = [words(answer).tolist() for _, _, answer in KNOWN_ANSWERS]
    assert philox4x32(counters, keys).tolist() == answers


def test_uniform_numbers_are_never_zero_nor_one() -> None:
    extremes = np.array([0, 255, 256, 0xFFFFFEFF, 0xFFFFFF00, 0xFFFFFFFF], np.uint32)
    numbers = uniform(extremes)
    assert numbers.dtype == np.float32
    assert numbers.tolist() == [2**-25, 2**-25, 3 * 2**-25, 1 - 2**-23, 1 - 2**-24, 1 - 2**-24]


def test_noise_of_an_id_is_the_word_that_its_counter_names() -> None:
    seed, position, token, stream = 0x0123456789ABCDEF, 77, 13, 5
    counter = np.array([position, token // 4, stream, 0], np.uint32)
    key = np.array([0x89ABCDEF, 0x01234567], np.uint32)
    number = float(uniform(philox4x32(counter, key))[token % 4])
    expected = np.float32(-np.log(-np.log(number)))
    assert gumbel(seed, position, 30, stream)[token] == expected


def test_noise_does_not_depend_on_the_other_rows_or_the_vocabulary_drawn_with_it() -> None:
    alone = gumbel(7, 3, 50)
    together = gumbel(np.array([9, 7, 7], np.uint64), np.array([3, 3, 4]), 61)
    assert together.shape == (3, 61)
    assert (together[1, :50] == alone).all()
    assert not (together[2, :50] == alone).any()


def test_a_negative_seed_is_refused_rather_than_wrapped() -> None:
    with pytest.raises(OverflowError):
        gumbel(-1, 0, 4)


def test_uniform_numbers_fill_their_range_evenly() -> None:
    counter = np.zeros((4096, 4), np.uint32)
    counter[:, 0] = np.arange(4096)
    numbers = uniform(philox4x32(counter, np.array([2024, 11], np.uint32))).ravel()
    counts, _ = np.histogram(numbers, bins=16, range=(0, 1))
    expected = numbers.size / 16
    # 37.7: the 99.9th percentile of chi-square with 15 degrees of freedom.
    assert ((counts - expected) ** 2 / expected).sum() < 37.7


def test_the_largest_noisy_logit_follows_the_softmax() -> None:
    logits = np.array([0.0, 1.0, 2.0, -1.0, 0.5, 1.5, -2.0, 0.0], np.float32)
    drawn = (logits + gumbel(5, np.arange(8000), len(logits))).argmax(axis=-1)
    counts = np.bincount(drawn, minlength=len(logits))
    expected = 8000 * np.exp(logits) / np.exp(logits).sum()
    # 24.3: the 99.9th percentile of chi-square with 7 degrees of freedom.
    assert ((counts - expected) ** 2 / expected).sum() < 24.3
