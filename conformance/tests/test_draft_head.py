"""Drafts made on the device from hidden rows: they change no token, and are what they should be."""

from __future__ import annotations

from functools import cache

import pytest

from octavo.testing.flights import LIMITS, MAX_TOKENS, PROMPT_LENGTHS, prompts
from octavo.testing.headed import Head, HeadFlights

from .platforms_here import PLATFORMS

HEADS: tuple[Head, ...] = ("often right", "random")
SHORT = 2  # prompts that can be computed at once with all that was chosen behind them
CASES = [
    pytest.param(name, temperature, id=f"{name}-{temperature}")
    for name in PLATFORMS
    for temperature in (0.0, 1.0)
]


@cache
def flights(name: str, head: Head) -> HeadFlights:
    return HeadFlights(PLATFORMS[name](LIMITS.max_step_tokens), head=head)


@pytest.mark.parametrize(("name", "temperature"), CASES)
@pytest.mark.parametrize("head", HEADS)
def test_drafts_of_a_head_change_no_token(name: str, temperature: float, head: Head) -> None:
    flight, _ = flights(name, head).fly(temperature, depth=2)
    assert flight.outputs == flights("oracle", head).plain(temperature)
    assert flight.most_unread == 2


@pytest.mark.parametrize("name", PLATFORMS)
def test_head_that_is_often_right_saves_launches(name: str) -> None:
    by_ones = -(-max(PROMPT_LENGTHS) // 6) + MAX_TOKENS - 1
    rightly, _ = flights(name, "often right").fly(0.0, depth=1)
    wrongly, _ = flights(name, "random").fly(0.0, depth=1)
    assert rightly.num_launches < by_ones
    assert rightly.num_launches < wrongly.num_launches <= by_ones


@pytest.mark.parametrize(("name", "temperature"), CASES)
def test_drafts_in_flight_are_those_of_the_context_computed_at_once(
    name: str, temperature: float
) -> None:
    subject = flights(name, "random")
    flight, drafts = subject.fly(temperature, depth=2)
    num_compared = 0
    for seat, (prompt, output) in enumerate(zip(prompts(), flight.outputs, strict=True), 1):
        context = [*prompt, *output]
        for at in (now for of, now in drafts if of == seat <= SHORT and now < len(context)):
            assert subject.drafted(context[:at], temperature, seat - 1) == drafts[seat, at]
            num_compared += 1
    assert num_compared > SHORT
