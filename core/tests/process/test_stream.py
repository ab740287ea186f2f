"""The loop's side of a stream."""

from __future__ import annotations

import asyncio

from octavo.asking import SamplingParams, make_request
from octavo.outputs import OutputText
from octavo.process.stream import Piece, Stream, call
from octavo.testing.loaded import NullLoaded
from octavo.testing.served import within


def stream(unwanted: list[int]) -> Stream:
    model, params = NullLoaded(), SamplingParams()
    outputs = [OutputText(model, make_request(model, "x", [1], params), params) for _ in range(2)]
    return Stream(outputs, [4, 5], end=unwanted.extend)


def test_it_is_open_until_the_last_piece_of_the_last_output_was_taken() -> None:
    async def ask() -> None:
        each = stream([])
        each.put([Piece(0, "a", True), Piece(1, "b", False)])
        assert [piece.text for piece in await each.take()] == ["a", "b"]
        each.put([Piece(1, "c", True)])
        assert each.is_open
        await each.take()
        assert not each.is_open

    within(ask())


def test_what_comes_after_an_abort_is_dropped() -> None:
    unwanted: list[int] = []

    async def ask() -> None:
        each = stream(unwanted)
        each.abort()
        each.put([Piece(0, "late", True)])
        assert not each.is_open
        assert [output.finish_reason for output in each.outputs] == ["abort", "abort"]

    within(ask())
    assert unwanted == [4, 5]


def test_news_for_a_loop_that_is_closed_are_dropped() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    heard: list[int] = []
    call(loop, heard.append, 1)
    assert not heard
