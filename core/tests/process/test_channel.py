"""Sockets and the folder they lie in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from octavo.errors import OperatorError
from octavo.process.channel import ClientSocket, EngineSocket, Place
from octavo.testing.served import until


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place.anywhere()
    made.make()
    yield made
    made.remove()


def test_a_folder_with_too_long_a_name_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="Set TMPDIR to a shorter one"):
        Place(tmp_path / ("x" * 100)).make()


def test_only_this_user_can_enter_an_engines_folder(place: Place) -> None:
    assert place.folder.stat().st_mode & 0o777 == 0o700


def test_what_was_said_to_an_engine_that_went_is_never_heard_by_the_next(place: Place) -> None:
    ears, mouth = os.pipe()
    first, client = EngineSocket(place), ClientSocket(place, wake=ears)
    client.send([b"hello"])
    assert first.receive(wait_s=60.0) is not None
    first.close(linger_s=0.0)
    until(client.is_lost)
    client.send([b"to the one that went"])
    client.renew()
    client.send([b"to the next"])
    second = EngineSocket(place)
    received = second.receive(wait_s=60.0)
    assert received is not None
    assert received[1] == [b"to the next"]
    assert second.receive(wait_s=0.2) is None
    client.close()
    second.close(linger_s=0.0)
    for each in (ears, mouth):
        os.close(each)


def test_a_client_that_is_gone_cannot_be_told_anything(place: Place) -> None:
    ears, mouth = os.pipe()
    engine, client = EngineSocket(place), ClientSocket(place, wake=ears)
    client.send([b"hello"])
    received = engine.receive(wait_s=60.0)
    assert received is not None
    name = received[0]
    assert engine.send(name, [b"welcome"])
    client.close()
    until(lambda: not engine.send(name, [b"still there?"]))
    engine.close(linger_s=0.0)
    for each in (ears, mouth):
        os.close(each)
