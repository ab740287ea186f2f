"""Toys against the oracle: whole models, small enough that every number of them is known.

A platform runs a toy through bind, place and compile, and through the real engine; the oracle
runs it too. Logits agree within rounding, greedy and sampled tokens by the law of tokens.

Knows no platform, and no toy but by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from octavo import SamplingParams
from octavo.testing.drive import Running, generate, run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys.zoo import GENERATORS, NUM_BLOCKS, VOCAB_SIZE
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_conformance.verdict import insist
from octavo_platforms.loaded import Platform
from octavo_platforms.tolerance import gap_limit

LENGTHS = (3, 29, 17, 31)
NUM_TOKENS = 20
CHUNKS = (None, 16, 1)


@dataclass(frozen=True, slots=True)
class Pair:
    """One toy on a platform and on the oracle."""

    found: Running
    oracle: Running

    def close(self) -> None:
        """Close both programs."""
        self.found.program.close()
        self.oracle.program.close()


def pair(platform: Platform, toy: str) -> Pair:
    """Load a toy twice, with the same weights."""
    program = GENERATORS[toy]()
    weights = RandomWeights(program)
    oracle = Platform(OraclePlatform())
    both = (run_on(each, program, weights, num_blocks=NUM_BLOCKS) for each in (platform, oracle))
    return Pair(*both)


def prompts() -> list[list[int]]:
    """Give prompts of different lengths."""
    draw = np.random.default_rng(0)
    return [draw.integers(0, VOCAB_SIZE, length).tolist() for length in LENGTHS]


def same_logits(toy: Pair) -> None:
    """Insist on the oracle's logits after each token of a prompt, in any chunks. Raises: Failed."""
    prompt = prompts()[1]
    exact = toy.oracle.logits(prompt)
    for chunk in CHUNKS:
        error = np.abs(toy.found.logits(prompt, chunk=chunk) - exact).max(axis=-1)
        allowed = [gap_limit(row, "float32") for row in exact]
        insist(bool((error <= allowed).all()), f"in chunks of {chunk}, logits are {error} off")


def same_tokens(toy: Pair, *, temperature: float, seed: int, max_in_flight: int = 1) -> None:
    """Insist that the engine's tokens are those of the oracle's logits. Raises: Failed."""
    given = prompts()
    params = SamplingParams(temperature=temperature, seed=seed, max_tokens=NUM_TOKENS)
    engine = toy.found.engine(vocab_size=VOCAB_SIZE, max_in_flight=max_in_flight)
    outputs = generate(engine, given, params)
    for prompt, output in zip(given, outputs, strict=True):
        insist(len(output) == NUM_TOKENS, f"{len(output)} tokens came, {NUM_TOKENS} were asked for")
        held = toy.oracle.hold(prompt, output, temperature=temperature, seed=seed)
        insist(held.is_evidence, f"only {held.num_decided} of {held.num_tokens} are decided")
        insist(not held.wrong, f"the tokens at {held.wrong} are not the oracle's: {output}")


def again(toy: Pair, params: SamplingParams) -> Sequence[Sequence[int]]:
    """Run the prompts on a fresh engine."""
    return generate(toy.found.engine(vocab_size=VOCAB_SIZE), prompts(), params)
