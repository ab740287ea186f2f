"""Inputs that come late, on JAX: masks from the token before, edited logits, probabilities."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax")

import octavo_jax
from octavo.testing.drive import Running, run_on
from octavo.testing.lateness import LIMITS, TOY, VOCAB, allowed, forbid, late_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import late, llama
from octavo_platforms.loaded import Platform


@pytest.fixture(scope="module")
def running() -> Running:
    made = late.program(TOY, limits=LIMITS)
    weights = RandomWeights(llama.program(TOY, limits=LIMITS))
    return run_on(Platform(octavo_jax.platform), made, weights, num_blocks=80)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_late_masks_choose_what_the_host_would(running: Running, temperature: float) -> None:
    late_masks = late_on(running, temperature)
    assert late_masks.masked(allowed) == late_masks.on_host(forbid)
    assert late_masks.masked(None) == late_masks.on_host(lambda logits, last: logits)


def test_probabilities_do_not_depend_on_a_prefix_hit(running: Running) -> None:
    prompt = np.random.default_rng(8).integers(0, VOCAB, 27).tolist()
    logprob, rank = late_on(running, 0.0).scores(prompt)
    behind, ranks = late_on(running, 0.0).scores(prompt, computed=8)
    assert len(logprob) == len(prompt) - 1
    np.testing.assert_allclose(behind, logprob[8:], rtol=1e-4, atol=1e-5)
    assert ranks.tolist() == rank[8:].tolist()
