"""What one request costs when it comes or goes does not grow with how many others there are."""

from __future__ import annotations

import pytest

from octavo.engine import Engine
from octavo.heart import heart
from octavo.request import Request, RequestId
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.testing.frugal import cost_of
from octavo.testing.null import IdleProgram

FEW, MANY = 100, 800


def running(num_requests: int) -> Engine:
    """Give an engine with so many requests past their prompts, and room for one more."""
    allowed = Limits(
        max_context_tokens=64,
        num_blocks=(num_requests + 1) * 4 + 1,
        block_size=16,
        max_requests=num_requests + 1,
        max_step_tokens=(num_requests + 1) * 8,
        vocab_size=211,
    )
    engine = heart(IdleProgram(), allowed).engine()
    for number in range(num_requests):
        engine.add(Request(f"{number}", [1, 2, 3], SamplingParams(temperature=0, max_tokens=50)))
    for _ in range(3):
        engine.step()
    return engine


def instructions_of_an_abort(num_requests: int, *, place: int) -> int:
    engine = running(num_requests)
    cost = cost_of(lambda: engine.abort(RequestId(f"{place}"))).instructions
    engine.step()
    assert engine.stats.running == num_requests - 1
    return cost


@pytest.mark.parametrize("place", [0, FEW - 1])
def test_an_abort_takes_no_turn_of_a_loop_for_each_other_request(place: int) -> None:
    few, many = (instructions_of_an_abort(count, place=place) for count in (FEW, MANY))
    assert few == many


def test_a_storm_of_aborts_leaves_those_who_were_not_aborted_as_they_were() -> None:
    engine = running(FEW)
    for number in range(0, FEW, 2):
        engine.abort(RequestId(f"{number}"))
    assert engine.stats.running == FEW // 2
    delta = engine.step()
    assert list(delta.request_ids) == [f"{number}" for number in range(1, FEW, 2)]


def test_a_step_after_somebody_left_takes_no_turn_of_a_loop_for_each_other_request() -> None:
    costs = []
    for count in (FEW, MANY):
        engine = running(count)
        engine.abort(RequestId("7"))
        costs.append(cost_of(engine.step).instructions)
    assert costs[0] == costs[1]
