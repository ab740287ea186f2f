"""Drafts and unread launches on JAX: the tokens of plain decoding, whatever was proposed."""

from __future__ import annotations

import pytest

pytest.importorskip("jax")

import octavo_jax
from octavo.testing.flights import HOW_RIGHT, Flights
from octavo_platforms.loaded import Platform


@pytest.fixture(scope="module", params=[0.0, 1.0])
def flights(request: pytest.FixtureRequest) -> Flights:
    return Flights(Platform(octavo_jax.platform), temperature=request.param)


@pytest.mark.parametrize("how_right", HOW_RIGHT)
def test_drafts_in_flight_change_no_token(flights: Flights, how_right: str) -> None:
    plain = flights.plain()
    found = flights.fly("verify", depth=2, token_at=flights.drafts(plain, how_right=how_right))
    assert found.outputs == plain
    assert found.most_unread == 2


def test_unread_launches_change_no_token(flights: Flights) -> None:
    assert flights.fly("step", depth=3).outputs == flights.plain()
