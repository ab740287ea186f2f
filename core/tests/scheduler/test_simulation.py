"""Many requests: a cache that they fit into costs nothing, a smaller one what it has to."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from octavo.scheduler import Limits
from octavo.testing.simulation import PATTERNS, Visit, simulate

LIMITS = Limits(
    max_context_tokens=128,
    num_blocks=16 * 32 + 1,
    block_size=4,
    max_requests=16,
    max_step_tokens=64,
    vocab_size=97,
    prefix_caching=False,
)


def visits(pattern: str, count: int = 160) -> list[Visit]:
    return PATTERNS[pattern](count, LIMITS, random.Random(1))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_where_the_work_fits_a_step_does_as_much_as_with_an_unlimited_cache(
    pattern: str, depth: int
) -> None:
    came = visits(pattern)
    free = simulate(came, LIMITS, depth=depth)
    peak = int(free.trace.held_blocks.max())
    tight = simulate(came, replace(LIMITS, num_blocks=peak + 1), depth=depth)
    assert free.recomputed_share == 0
    assert tight.tokens_per_step >= 0.95 * free.tokens_per_step


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(
    ("pattern", "recomputed"),
    [("steady", 0.1), ("burst", 0.1), ("giants", 0.05), ("growing", 0.4)],
)
def test_where_it_does_not_fit_throughput_falls_as_the_cache_and_little_is_computed_twice(
    pattern: str, recomputed: float, depth: int
) -> None:
    came = visits(pattern)
    free = simulate(came, LIMITS, depth=depth)
    peak = int(free.trace.held_blocks.max())
    for share in (0.5, 0.25):
        num_blocks = max(int(peak * share), 32)
        small = replace(LIMITS, num_blocks=num_blocks + 1)
        ran = simulate(came, small, depth=depth)
        assert ran.recomputed_share < recomputed
        assert ran.tokens_per_step > share * free.tokens_per_step
        assert int(ran.trace.held_blocks.max()) <= num_blocks


def test_by_arrival_nobodys_first_token_comes_after_that_of_who_came_a_house_later() -> None:
    """Everybody comes at once, so a wait says when the first token came."""
    ran = simulate(visits("growing"), replace(LIMITS, num_blocks=101))
    for number in range(len(ran.waits) - LIMITS.max_requests):
        assert ran.waits[number] < ran.waits[number + LIMITS.max_requests]
