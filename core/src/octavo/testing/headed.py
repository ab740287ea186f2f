"""Flights with a draft head that every platform has to make alike.

One head is random, the other often right: it passes on the embedding of the token it is given,
which is most of what a target with small weights makes of it. So nobody needs to train anything.

Knows nothing of how launches are made (`heads`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from octavo.sampling import sampling_words
from octavo.testing.drive import run_on
from octavo.testing.flights import (
    LIMITS,
    MAX_TOKENS,
    NUM_BLOCKS,
    TOY,
    Flight,
    plain_outputs,
    prompts,
)
from octavo.testing.heads import Drafting
from octavo.testing.pilot import Pilot
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import draft_head, llama
from octavo.weights.relayed import Relayed
from octavo_platforms.loaded import Platform
from octavo_platforms.tensor import HostTensor, host

Head = Literal["often right", "random"]
Drafts = Mapping[tuple[int, int], tuple[int, int]]
SCALE = 0.01


@dataclass(frozen=True, slots=True)
class PassingOn(Relayed):
    """Weights of a head that gives the embedding of its token as its row."""

    def read(self, name: str) -> HostTensor:
        """Give a tensor; nothing of the head but its token's embedding comes through."""
        if not name.startswith("draft."):
            return self.source.read(name)
        if name == "draft.fc.token.weight":
            return host(np.eye(TOY.width, dtype=np.float32))
        return host(np.zeros(self.shape(name), np.float32))


class HeadFlights:
    """One platform's programs, plain and with a draft head, on the same random weights."""

    def __init__(self, platform: Platform, *, head: Head) -> None:
        toy = draft_head.program(TOY, limits=LIMITS)
        weights = RandomWeights(toy, scale=SCALE)
        given = weights if head == "random" else PassingOn(weights)
        plain = llama.program(TOY, limits=LIMITS)
        self._plain = run_on(platform, plain, weights, num_blocks=NUM_BLOCKS)
        self._drafting = run_on(platform, toy, given, num_blocks=NUM_BLOCKS)

    def plain(self, temperature: float) -> list[list[int]]:
        """Give the tokens of the engine, one at a time, without drafts."""
        return plain_outputs(self._plain, prompts(), temperature)

    def fly(self, temperature: float, *, depth: int) -> tuple[Flight, Drafts]:
        """Run all prompts at once, with so many checks unread; give what was drafted, too."""
        drafting = Drafting(self._drafting)
        pilot = Pilot(self._drafting, "verify", depth, MAX_TOKENS, after=drafting)
        given = prompts()
        words = [sampling_words(temperature, seed) for seed in range(len(given))]
        flight = Flight(pilot.run(given, words), pilot.num_launches, pilot.most_unread)
        return flight, drafting.drafts()

    def drafted(self, context: Sequence[int], temperature: float, seed: int) -> tuple[int, int]:
        """Give the drafts of a context that is computed at once, and of the token after it."""
        drafting = Drafting(self._drafting)
        pilot = Pilot(self._drafting, "verify", 1, 1, chunk=len(context), after=drafting)
        pilot.run([context], [sampling_words(temperature, seed)])
        return drafting.drafts()[1, len(context)]
