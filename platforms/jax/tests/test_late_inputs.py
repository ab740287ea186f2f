"""Inputs that come late, on JAX: masks from the token before, edited logits, probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("jax")

import octavo_jax
from octavo.models.decoder import Limits
from octavo.sampling import sampling_words
from octavo.testing.drive import Running, run_on
from octavo.testing.lateness import Floats, Late
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import late, llama
from octavo_platforms.loaded import Platform

VOCAB = 101
TOY = llama.spec(tied_embeddings=False)
LIMITS = Limits(max_step_tokens=32, max_requests=4, max_blocks=16, block_size=4)
PROMPTS = [
    np.random.default_rng(length).integers(0, VOCAB, length).tolist() for length in (3, 9, 14)
]


@pytest.fixture(scope="module")
def running() -> Running:
    made = late.program(TOY, limits=LIMITS)
    weights = RandomWeights(llama.program(TOY, limits=LIMITS))
    return run_on(Platform(octavo_jax.platform), made, weights, num_blocks=80)


def subject(running: Running, temperature: float) -> Late:
    words = [sampling_words(temperature, seed) for seed in range(len(PROMPTS))]
    return Late(running, PROMPTS, np.array(words, np.uint32), num_tokens=8)


def allowed(token: int) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (np.arange(VOCAB) + token) % 3 == 0
    return found


def forbid(logits: Floats, last: Sequence[int]) -> Floats:
    for row, token in enumerate(last):
        logits[row, ~allowed(token)] = -np.inf
    return logits


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_late_masks_choose_what_the_host_would(running: Running, temperature: float) -> None:
    late_masks = subject(running, temperature)
    assert late_masks.masked(allowed) == late_masks.on_host(forbid)
    assert late_masks.masked(None) == late_masks.on_host(lambda logits, last: logits)


def test_probabilities_do_not_depend_on_a_prefix_hit(running: Running) -> None:
    prompt = np.random.default_rng(8).integers(0, VOCAB, 27).tolist()
    logprob, rank = subject(running, 0.0).scores(prompt)
    behind, ranks = subject(running, 0.0).scores(prompt, computed=8)
    assert len(logprob) == len(prompt) - 1
    np.testing.assert_allclose(behind, logprob[8:], rtol=1e-4, atol=1e-5)
    assert ranks.tolist() == rank[8:].tolist()
