"""Noise against the contract's reference, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("jax")

import jax.numpy as jnp

from octavo_jax.ops import philox
from octavo_platforms.philox import gumbel, uniform

WORD = st.integers(0, 2**32 - 1)


@given(st.lists(WORD, min_size=1, max_size=20), st.sampled_from([0xD2511F53, 0xCD9E8D57]))
@settings(deadline=None, max_examples=50)
def test_products_have_both_their_words(words: list[int], factor: int) -> None:
    high, low = philox.multiplied(jnp.asarray(np.array([*words, 2**32 - 1], np.uint32)), factor)
    expected = [word * factor for word in (*words, 2**32 - 1)]
    assert np.asarray(high).tolist() == [product >> 32 for product in expected]
    assert np.asarray(low).tolist() == [product & 0xFFFFFFFF for product in expected]


def test_noise_of_all_words_is_that_of_the_reference() -> None:
    for start in range(0, 2**24, 2**22):
        words = np.arange(start, start + 2**22, dtype=np.uint32) << np.uint32(8)
        exact = -np.log(-np.log(uniform(words), dtype=np.float64))
        found = np.asarray(philox.noise_of(jnp.asarray(words)))
        assert np.array_equal(found, exact.astype(np.float32))


def test_noise_of_seeds_and_positions_is_that_of_the_reference() -> None:
    seeds = np.array([0, 1, 2**64 - 1, 0x0123456789ABCDEF], np.uint64)
    positions = np.array([0, 131_071, 5, 2**31 - 1])
    halves = np.stack([seeds & np.uint64(2**32 - 1), seeds >> np.uint64(32)], axis=-1)
    found = philox.gumbel(jnp.asarray(halves.astype(np.uint32)), jnp.asarray(positions), 1003)
    assert np.array_equal(np.asarray(found), gumbel(seeds, positions, 1003))
