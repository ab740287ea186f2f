"""Drafts and unread launches: the tokens of plain decoding, whatever was proposed."""

from __future__ import annotations

from functools import cache

import pytest

import octavo_cpu
from octavo.testing.flights import HOW_RIGHT, MAX_TOKENS, Flights
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms.loaded import Platform

PLATFORMS = {"oracle": OraclePlatform(), "cpu": octavo_cpu.platform}
CASES = [
    pytest.param(name, temperature, id=f"{name}-{temperature}")
    for name in PLATFORMS
    for temperature in (0.0, 1.0)
]


@cache
def flights(name: str, temperature: float) -> Flights:
    return Flights(Platform(PLATFORMS[name]), temperature=temperature)


@pytest.mark.parametrize(("name", "temperature"), CASES)
@pytest.mark.parametrize("how_right", HOW_RIGHT)
def test_drafts_in_flight_change_no_token(name: str, temperature: float, how_right: str) -> None:
    subject = flights(name, temperature)
    plain = subject.plain()
    found = subject.fly("verify", depth=2, token_at=subject.drafts(plain, how_right=how_right))
    assert found.outputs == plain
    assert found.most_unread == 2


@pytest.mark.parametrize(("name", "temperature"), CASES)
def test_unread_launches_change_no_token(name: str, temperature: float) -> None:
    subject = flights(name, temperature)
    assert subject.fly("step", depth=3).outputs == subject.plain()


def test_right_drafts_save_launches_and_wrong_ones_cost_none() -> None:
    subject = flights("cpu", 0.0)
    plain = subject.plain()
    by_ones = subject.fly("step", depth=1).num_launches
    launches = {
        how: subject.fly("verify", depth=1, token_at=subject.drafts(plain, how_right=how))
        for how in HOW_RIGHT
    }
    assert launches["never"].num_launches == by_ones
    assert launches["always"].num_launches < launches["sometimes"].num_launches < by_ones
    assert by_ones > MAX_TOKENS
