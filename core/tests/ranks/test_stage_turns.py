"""Steps for two stages: requests are shared between two steps, and nobody is in both."""

from __future__ import annotations

from collections import deque

import pytest

from octavo.heart import heart
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.step import Step
from octavo.testing.null import NullProgram, output_by_hand
from octavo_platforms.inputs import Pending

VOCAB_SIZE = 83


def limits(*, num_stages: int, blocks: int = 30) -> Limits:
    return Limits(
        max_context_tokens=40,
        num_blocks=blocks,
        block_size=4,
        max_requests=5,
        max_step_tokens=9,
        vocab_size=VOCAB_SIZE,
        num_stages=num_stages,
    )


@pytest.mark.parametrize("num_requests", [1, 2, 5, 8])
@pytest.mark.parametrize("blocks", [30, 14])
def test_two_steps_in_flight_share_the_requests_and_no_seat_waits_for_its_token_in_both(
    num_requests: int, blocks: int
) -> None:
    allowed = limits(num_stages=2, blocks=blocks)
    parts = heart(NullProgram(allowed), allowed)
    scheduler = parts.scheduler
    requests = [
        Request(f"{n}", [n + 3] * (1 + 5 * n % 11), SamplingParams(seed=n, max_tokens=14))
        for n in range(num_requests)
    ]
    for request in requests:
        scheduler.add(request)
    in_flight: deque[tuple[Step, Pending]] = deque()
    num_alone = 0
    while scheduler.num_running or scheduler.num_waiting:
        while len(in_flight) < 2 and (step := scheduler.schedule()) is not None:
            unread = {seat for other, _ in in_flight for seat in other.seats[other.rows].tolist()}
            assert unread.isdisjoint(step.seats.tolist())
            assert not step.promised.size
            in_flight.append((step, parts.runner.launch(step)))
        if len(in_flight) == 1 and scheduler.num_running > 1:
            num_alone += 1
        done, pending = in_flight.popleft()
        scheduler.commit(done, pending.read())
    assert num_alone <= (2 if blocks == 30 else 30)
    for request in requests:
        assert request.output_ids == output_by_hand(request, 14, vocab_size=VOCAB_SIZE)
