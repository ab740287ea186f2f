"""Flights that every platform has to make alike: drafts right always, never and sometimes.

Knows nothing of how launches are made (`pilot`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from octavo.models.decoder import Limits
from octavo.sampling import SamplingParams, sampling_words
from octavo.testing.drive import Running, generate, run_on
from octavo.testing.pilot import Pilot
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import draft, llama
from octavo_platforms.loaded import Platform
from octavo_platforms.program import ProgramDef

VOCAB = 101
MAX_TOKENS = 12
NUM_BLOCKS = 80
TOY = llama.spec(tied_embeddings=False)
LIMITS = Limits(max_step_tokens=32, max_requests=4, max_blocks=16, block_size=4)
# No two requests decode at the same position, so a table by position serves them all.
PROMPT_LENGTHS = (3, 16, 31)
HOW_RIGHT = {"always": 1, "sometimes": 2, "never": 0}


@dataclass(frozen=True, slots=True)
class Flight:
    """What came out: tokens, how many launches they took, how many were unread at once."""

    outputs: list[list[int]]
    num_launches: int
    most_unread: int


def prompts() -> list[list[int]]:
    """Give prompts whose contexts end at different lengths."""
    drawn = np.random.default_rng(5)
    return [drawn.integers(0, VOCAB, length).tolist() for length in PROMPT_LENGTHS]


def plain_outputs(
    running: Running,
    prompts: Sequence[Sequence[int]],
    temperature: float,
    *,
    max_tokens: int = MAX_TOKENS,
) -> list[list[int]]:
    """Give the engine's tokens without drafts, a prompt at a time, with its number for a seed."""
    engine = running.engine(vocab_size=VOCAB)
    found = []
    for seed, prompt in enumerate(prompts):
        params = SamplingParams(
            temperature=temperature, seed=seed, max_tokens=max_tokens, ignore_eos=True
        )
        found += generate(engine, [prompt], params)
    return found


class Flights:
    """One platform's programs, plain and with drafts, on the same random weights.

    `programs` are the two, a Llama's where they are not given.
    """

    def __init__(
        self,
        platform: Platform,
        *,
        temperature: float,
        programs: tuple[ProgramDef, ProgramDef] | None = None,
    ) -> None:
        plain, toy = programs or (
            llama.program(TOY, limits=LIMITS),
            draft.program(TOY, limits=LIMITS),
        )
        weights = RandomWeights(plain)
        self.prompts = prompts()
        self._temperature = temperature
        self._plain = run_on(platform, plain, weights, num_blocks=NUM_BLOCKS)
        self._drafting = run_on(platform, toy, weights, num_blocks=NUM_BLOCKS)

    def plain(self) -> list[list[int]]:
        """Give the tokens of the engine, one at a time, without drafts."""
        return plain_outputs(self._plain, self.prompts, self._temperature)

    def fly(self, entry: str, *, depth: int, token_at: dict[int, int] | None = None) -> Flight:
        """Run all prompts at once on one entry, with what the drafter proposes by position."""
        pilot = Pilot(self._drafting, entry, depth, MAX_TOKENS)
        pilot.propose(token_at or {})
        words = [sampling_words(self._temperature, seed) for seed in range(len(self.prompts))]
        outputs = pilot.run(self.prompts, words)
        return Flight(outputs, pilot.num_launches, pilot.most_unread)

    def drafts(self, outputs: Sequence[Sequence[int]], *, how_right: str) -> dict[int, int]:
        """Make drafts that are right at every position, at every other, or at none."""
        every = HOW_RIGHT[how_right]
        found = {}
        for prompt, output in zip(self.prompts, outputs, strict=True):
            for position, token in enumerate(output, len(prompt)):
                is_right = every > 0 and position % every == 0
                found[position] = token if is_right else (token + 1) % VOCAB
        return found
