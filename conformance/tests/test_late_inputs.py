"""Inputs that come late: masks from the token before, edited logits, a prompt's probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

import octavo_cpu
from octavo.testing.drive import Running, run_on
from octavo.testing.flights import plain_outputs
from octavo.testing.lateness import (
    LIMITS,
    NUM_TOKENS,
    PROMPTS,
    TOY,
    VOCAB,
    Floats,
    Late,
    allowed,
    forbid,
    late_on,
)
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import late, llama
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms.loaded import Platform

PLATFORMS = {"oracle": OraclePlatform(), "cpu": octavo_cpu.platform}
CASES = [(name, temperature) for name in PLATFORMS for temperature in (0.0, 1.0)]


@cache
def running(name: str, toy: str) -> Running:
    plain = llama.program(TOY, limits=LIMITS)
    made = plain if toy == "plain" else late.program(TOY, limits=LIMITS)
    return run_on(Platform(PLATFORMS[name]), made, RandomWeights(plain), num_blocks=80)


def subject(name: str, temperature: float) -> Late:
    return late_on(running(name, "late"), temperature)


def plain(name: str, temperature: float) -> list[list[int]]:
    return plain_outputs(running(name, "plain"), PROMPTS, temperature, max_tokens=NUM_TOKENS)


def same(logits: Floats, last: Sequence[int]) -> Floats:
    return logits


@pytest.mark.parametrize(("name", "temperature"), CASES)
def test_masks_made_after_the_next_forward_was_launched_are_kept(
    name: str, temperature: float
) -> None:
    found = subject(name, temperature).masked(allowed)
    assert found == subject(name, temperature).on_host(forbid)
    for prompt, output in zip(PROMPTS, found, strict=True):
        for before, token in zip([prompt[-1], *output], output, strict=False):
            assert allowed(before)[token]


@pytest.mark.parametrize(("name", "temperature"), CASES)
def test_mask_that_allows_everything_changes_no_token(name: str, temperature: float) -> None:
    found = subject(name, temperature).masked(lambda token: np.ones(VOCAB, np.bool_))
    assert found == plain(name, temperature)


@pytest.mark.parametrize(("name", "temperature"), CASES)
def test_host_chooses_the_tokens_of_the_device(name: str, temperature: float) -> None:
    found = subject(name, temperature).on_host(same)
    assert found == plain(name, temperature)
    assert found == subject(name, temperature).masked(None)


@pytest.mark.parametrize("name", PLATFORMS)
def test_prompts_probabilities_in_chunks_are_those_of_its_logits(name: str) -> None:
    prompt = np.random.default_rng(7).integers(0, VOCAB, 27).tolist()
    logprob, rank = subject(name, 0.0).scores(prompt)
    logits = running(name, "plain").logits(prompt)[:-1].astype(np.float64)
    own = logits[np.arange(len(logits)), prompt[1:]]
    exact = own - np.log(np.exp(logits).sum(axis=1))
    np.testing.assert_allclose(logprob, exact, rtol=1e-4, atol=1e-5)
    assert rank.tolist() == (logits > own[:, None]).sum(axis=1).tolist()


@pytest.mark.parametrize("name", PLATFORMS)
def test_probabilities_behind_a_prefix_hit_are_those_of_the_whole_prompt(name: str) -> None:
    prompt = np.random.default_rng(8).integers(0, VOCAB, 27).tolist()
    logprob, rank = subject(name, 0.0).scores(prompt)
    behind, ranks = subject(name, 0.0).scores(prompt, computed=8)
    np.testing.assert_allclose(behind, logprob[8:], rtol=1e-4, atol=1e-5)
    assert ranks.tolist() == rank[8:].tolist()
