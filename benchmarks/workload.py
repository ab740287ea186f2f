"""The work that every peer is given: prompts as token ids, from fixed seeds.

Knows no peer.
"""

from __future__ import annotations

import random

LOWEST_ID, HIGHEST_ID = 1000, 40000


def token_ids(generator: random.Random, count: int) -> list[int]:
    """Draw ordinary token ids."""
    return [generator.randrange(LOWEST_ID, HIGHEST_ID) for _ in range(count)]


def batch(num_requests: int, *, seed: int) -> list[list[int]]:
    """Make prompts of 32 to 512 tokens."""
    generator = random.Random(seed)
    return [token_ids(generator, generator.randint(32, 512)) for _ in range(num_requests)]


def single(*, seed: int, num_tokens: int = 128) -> list[int]:
    """Make one prompt."""
    return token_ids(random.Random(seed), num_tokens)
