"""The engine on JAX: its tokens against the oracle's logits, and what it compiles.

One program is warmed up for the file; each test puts an engine of its own on it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("jax")

import jax

import octavo_jax
from octavo.models.decoder import Limits
from octavo.sampling import SamplingParams
from octavo.testing.drive import Running, generate, run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo.testing.traffic import follow, traffic
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms.loaded import Platform

VOCAB = 101
COMPILED = "/jax/core/compile/backend_compile_duration"
TOY = llama.program(
    llama.spec(),
    limits=Limits(max_step_tokens=32, max_requests=4, max_blocks=16, block_size=4),
)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    found = run_on(Platform(octavo_jax.platform), TOY, RandomWeights(TOY), num_blocks=40)
    found.program.warm_up(lambda stage, done, total: None)
    yield found
    found.program.close()


@pytest.fixture(scope="module")
def oracle() -> Running:
    return run_on(Platform(OraclePlatform()), TOY, RandomWeights(TOY), num_blocks=40)


@pytest.fixture
def compilations() -> Iterator[list[str]]:
    """Give a list to which each compilation in this process is added, ours or JAX's own."""
    seen: list[str] = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == COMPILED:
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def prompts(*lengths: int) -> list[list[int]]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, VOCAB, length).tolist() for length in lengths]


def test_logits_are_those_of_the_oracle_in_any_chunks(running: Running, oracle: Running) -> None:
    (prompt,) = prompts(29)
    exact = oracle.logits(prompt)
    for chunk in (None, 16, 1):
        found = running.logits(prompt, chunk=chunk)
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)


def test_greedy_tokens_are_those_of_the_oracle(running: Running, oracle: Running) -> None:
    given = prompts(3, 29, 17, 31, 5, 20)
    params = SamplingParams(temperature=0, max_tokens=20)
    for prompt, output in zip(
        given, generate(running.engine(vocab_size=VOCAB), given, params), strict=True
    ):
        held = oracle.hold(prompt, output)
        assert held.is_evidence
        assert held.wrong == ()


def test_seeded_tokens_are_those_of_the_oracle(running: Running, oracle: Running) -> None:
    given, seed = prompts(3, 29, 17, 31), 2**40 + 7
    params = SamplingParams(temperature=1.0, seed=seed, max_tokens=20)
    for prompt, output in zip(
        given, generate(running.engine(vocab_size=VOCAB), given, params), strict=True
    ):
        held = oracle.hold(prompt, output, temperature=1.0, seed=seed)
        assert held.is_evidence
        assert held.wrong == ()


def test_nothing_is_compiled_after_warming_up(running: Running, compilations: list[str]) -> None:
    draw = np.random.default_rng(1)
    requests = traffic(draw, 30, vocab_size=VOCAB, max_prompt_tokens=39, max_tokens=23)
    assert follow(running.engine(vocab_size=VOCAB), requests, draw) > 200
    assert compilations == []


def test_other_shapes_are_compiled_when_they_come(
    running: Running, compilations: list[str]
) -> None:
    running.logits(prompts(23)[0])
    assert compilations != []
