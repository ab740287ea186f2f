"""A steady step costs the host what changed: no object, and no turn of a loop, for each request."""

from __future__ import annotations

import pytest

from octavo.heart import heart
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.testing.frugal import Cost, cost_of
from octavo.testing.null import IdleProgram

FEW, MANY = 300, 700
NUM_STEPS = 6
BLOCK_SIZE = 64
MOST_OBJECTS = 150


def steady(num_requests: int, *, depth: int) -> list[Cost]:
    """Measure steps in which everybody gets a token and nobody a block."""
    allowed = Limits(
        max_context_tokens=512,
        num_blocks=num_requests * 512 // BLOCK_SIZE + 1,
        block_size=BLOCK_SIZE,
        max_requests=num_requests,
        max_step_tokens=num_requests * 8,
        vocab_size=211,
    )
    engine = heart(IdleProgram(), allowed).engine(max_in_flight=depth)
    for number in range(num_requests):
        engine.add(Request(f"{number}", [1, 2, 3, 4, 5], SamplingParams(temperature=0)))
    for _ in range(8):
        delta = engine.step()
    assert len(delta.tokens) == num_requests
    return [cost_of(engine.step) for _ in range(NUM_STEPS)]


@pytest.mark.parametrize("depth", [1, 2])
def test_a_steady_step_makes_no_object_for_each_request(depth: int) -> None:
    few, many = (steady(count, depth=depth) for count in (FEW, MANY))
    assert [cost.instructions for cost in few] == [cost.instructions for cost in many]
    assert max(cost.objects for cost in many) < MOST_OBJECTS < MANY - FEW


def test_what_is_made_and_dropped_within_a_call_is_seen() -> None:
    def alone() -> object:
        return [[number] for number in range(1000)] and None

    def one_by_one() -> None:
        for number in range(1000):
            (number,).count(3)

    def nothing() -> None:
        return None

    assert cost_of(alone).objects > 900
    assert cost_of(one_by_one).instructions > 3000
    assert cost_of(nothing).objects < MOST_OBJECTS
    assert cost_of(nothing).instructions < 50
