"""A device whose numbers broke for one request: that one ends with "error", alone."""

from __future__ import annotations

import pytest

from octavo.heart import heart
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.testing.null import by_hand
from octavo.testing.sick import SICK, SICK_AT, Sick
from octavo_platforms.inputs import NO_TOKEN

LIMITS = Limits(
    max_context_tokens=64,
    num_blocks=60,
    block_size=4,
    max_requests=4,
    max_step_tokens=32,
    vocab_size=101,
)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_request_without_a_token_ends_alone_and_nothing_leaks(depth: int) -> None:
    engine = heart(Sick(LIMITS), LIMITS).engine(max_in_flight=depth)
    params = SamplingParams(temperature=0, max_tokens=12)
    prompts = [[0, 7], [SICK, 7], [2, 7]]
    asked = [Request(f"r{number}", prompt, params) for number, prompt in enumerate(prompts)]
    for request in asked:
        engine.add(request)
    told: dict[str, str] = {}
    while engine.has_work:
        delta = engine.step()
        told.update(delta.finished.items())
        assert NO_TOKEN not in delta.tokens
    assert told == {"r0": "length", "r1": "error", "r2": "length"}
    for number, request in enumerate(asked):
        whole = by_hand(prompts[number], num_tokens=12, vocab_size=LIMITS.vocab_size)
        made = request.output_ids
        assert made == (whole if number != 1 else whole[: len(made)])
        assert len(made) == (12 if number != 1 else SICK_AT - 2)
    engine.check_integrity()
    assert engine.stats.held_blocks == 0
    assert engine.stats.corrupted == 1


@pytest.mark.parametrize("depth", [1, 2])
def test_nothing_is_remembered_of_a_request_without_a_token(depth: int) -> None:
    engine = heart(Sick(LIMITS), LIMITS).engine(max_in_flight=depth)
    params = SamplingParams(temperature=0, max_tokens=12)
    asked = [Request("sick", [SICK, 7], params), Request("sound", [2, 7], params)]
    for request in asked:
        engine.add(request)
    while engine.has_work:
        engine.step()
    again = [
        Request(f"{one.request_id} again", [*one.prompt_ids.tolist(), *one.output_ids], params)
        for one in asked
    ]
    for request in again:
        engine.add(request)
    while engine.has_work:
        engine.step()
    assert [one.num_cached_tokens for one in again] == [0, 12]
