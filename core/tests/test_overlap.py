"""Steps in flight: launching ahead changes no token, loses nothing and leaks nothing.

The device is the model without weights, as late as the rules allow: nothing runs before its
result is wanted. So a token that was not read cannot have been seen.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Literal

import pytest

from octavo.engine import Engine
from octavo.heart import Heart, heart
from octavo.request import Phase, Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.testing.laggard import Breaks, Broken, Laggard
from octavo.testing.null import IdleProgram, NullProgram, by_hand, output_by_hand
from octavo.testing.traffic import nine

VOCAB_SIZE = 211
ROADS = (("step",), ("forward", "sample"))


def limits(*, blocks: int = 60, requests: int = 6, step_tokens: int = 32) -> Limits:
    return Limits(
        max_context_tokens=64,
        num_blocks=blocks,
        block_size=4,
        max_requests=requests,
        max_step_tokens=step_tokens,
        vocab_size=VOCAB_SIZE,
    )


def late(allowed: Limits, *, road: tuple[str, ...] = ROADS[0], breaks: Breaks | None = None
         ) -> tuple[Laggard, Heart]:  # fmt: skip
    device = Laggard(NullProgram(allowed, entries=road), breaks=breaks)
    return device, heart(device, allowed)


def request(name: str, prompt: list[int], *, is_late: bool = False, **params: object) -> Request:
    sampling = SamplingParams(**{"temperature": 0.0, **params})  # type: ignore[arg-type]
    return Request(name, prompt, sampling, is_late=is_late)


def expected(one: Request, num_tokens: int) -> list[int]:
    return output_by_hand(one, num_tokens, vocab_size=VOCAB_SIZE)


def run(engine: Engine, asked: list[Request]) -> None:
    """Run requests to their end; hold every delta against what they keep."""
    made: dict[str, list[int]] = {one.request_id: [] for one in asked}
    for one in asked:
        engine.add(one)
    while engine.has_work:
        delta = engine.step()
        for name, token in zip(delta.request_ids, delta.tokens.tolist(), strict=True):
            made[name].append(token)
    assert list(made.values()) == [one.output_ids for one in asked]


def drain(engine: Engine) -> None:
    while engine.has_work:
        engine.step()


def ahead(device: Laggard) -> int:
    """Count the most results that were unread at once."""
    most = unread = 0
    for kind, number in device.events:
        if kind == "read":
            unread -= 1
        elif device.launches[number - 1].entry != "forward":
            unread += 1
        most = max(most, unread)
    return most


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("blocks", [60, 17])
def test_how_far_ahead_is_launched_changes_no_token(
    depth: int, road: tuple[str, ...], blocks: int
) -> None:
    device, parts = late(limits(blocks=blocks), road=road)
    asked = nine()
    run(parts.engine(max_in_flight=depth), asked)
    assert [one.output_ids for one in asked] == [expected(one, 20) for one in asked]
    assert ahead(device) == depth
    assert (parts.scheduler.num_preemptions > 0) == (blocks == 17)
    reads = [number for kind, number in device.events if kind == "read"]
    assert reads == sorted(set(reads))


def test_the_next_step_is_launched_before_the_one_at_work_is_read() -> None:
    device, parts = late(limits())
    run(parts.engine(max_in_flight=2), [request("a", [3, 1], max_tokens=4)])
    assert device.events == [
        ("launch", 1), ("launch", 2), ("read", 1), ("launch", 3), ("read", 2), ("launch", 4),
        ("read", 3), ("read", 4),
    ]  # fmt: skip


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_nobody_is_launched_beyond_its_last_token(depth: int) -> None:
    device, parts = late(limits())
    asked = [request(f"r{count}", [5] * (1 + count), max_tokens=count) for count in (1, 2, 3, 7)]
    run(parts.engine(max_in_flight=depth), asked)
    rows = sum(len(inputs.rows) for inputs in device.launches)
    assert rows == sum(len(one.output_ids) for one in asked) == 1 + 2 + 3 + 7


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_stop_token_is_found_late_and_nothing_after_it_is_kept(depth: int) -> None:
    free = by_hand([5, 9], num_tokens=12, vocab_size=VOCAB_SIZE)
    device, parts = late(limits())
    one = request("a", [5, 9], stop_token_ids=[free[6]])
    mate = request("b", [7], max_tokens=12)
    run(parts.engine(max_in_flight=depth), [one, mate])
    assert one.output_ids == free[: free.index(free[6]) + 1]
    assert one.finish_reason == "stop"
    assert mate.output_ids == expected(mate, 12)
    dropped = sum(len(inputs.rows) for inputs in device.launches) - len(one.output_ids) - 12
    assert dropped == depth - 1


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_blocks_and_seats_of_those_who_went_are_taken_by_the_very_next_launch(depth: int) -> None:
    device, parts = late(limits(requests=1, blocks=5))
    engine = parts.engine(max_in_flight=depth)
    first, second = request("a", [1, 2, 3] * 4), request("b", [4] * 12, max_tokens=3)
    engine.add(first)
    engine.step()
    engine.add(second)
    num_launches = len(device.launches)
    engine.abort("a")
    while engine.has_work:
        delta = engine.step()
        assert "a" not in delta.request_ids
    assert device.launches[num_launches].seat.tolist() == [1]
    assert second.output_ids == expected(second, 3)
    assert first.output_ids == expected(first, 1)


@pytest.mark.parametrize("depth", [1, 2])
def test_blocks_of_a_running_request_are_found_as_soon_as_their_tokens_are_known(
    depth: int,
) -> None:
    _, parts = late(limits())
    engine = parts.engine(max_in_flight=depth)
    engine.add(request("a", [1, 2, 3], max_tokens=30))
    context = [1, 2, 3]
    while len(context) < 17:
        context += engine.step().tokens.tolist()
    assert context == [1, 2, 3, *by_hand([1, 2, 3], num_tokens=14, vocab_size=VOCAB_SIZE)]
    second = request("b", [*context, 5], max_tokens=1)
    engine.add(second)
    drain(engine)
    assert second.num_cached_tokens == 16
    assert second.output_ids == expected(second, 1)


@pytest.mark.parametrize("depth", [2, 3])
def test_a_block_whose_last_token_is_only_promised_has_no_name(depth: int) -> None:
    _, parts = late(limits())
    engine = parts.engine(max_in_flight=depth)
    engine.add(request("a", [1, 2, 3], max_tokens=30))
    context = [1, 2, 3]
    while len(context) < 15:
        context += engine.step().tokens.tolist()
    assert len(context) == 15
    engine.abort("a")
    second = request("b", [*context, 0, 5], max_tokens=1)
    run(engine, [second])
    assert second.num_cached_tokens == 12
    assert second.output_ids == expected(second, 1)


def test_a_step_in_flight_is_read_before_anybody_is_preempted() -> None:
    """Two requests fill the cache; one of them ends in the step that is unread."""
    _, parts = late(limits(blocks=5, requests=2))
    stop = by_hand([1] * 7, num_tokens=2, vocab_size=VOCAB_SIZE)[1]
    asked = [request("a", [2] * 7, max_tokens=5), request("b", [1] * 7, stop_token_ids=[stop])]
    run(parts.engine(max_in_flight=2), asked)
    assert parts.scheduler.num_preemptions == 0
    assert asked[0].output_ids == expected(asked[0], 5)


@pytest.mark.parametrize("depth", [2, 3])
def test_a_late_request_is_in_no_step_while_its_token_is_unread(depth: int) -> None:
    device, parts = late(limits())
    asked = nine(is_late=True)
    run(parts.engine(max_in_flight=depth), asked)
    assert [one.output_ids for one in asked] == [expected(one, 20) for one in asked]
    assert ahead(device) == depth
    kept = [inputs.token_from for inputs in device.launches if inputs.token_from is not None]
    assert kept, "those who are not late were launched ahead"
    alone, lonely = late(limits())
    one = request("a", [3, 1], max_tokens=6, is_late=True)
    run(lonely.engine(max_in_flight=depth), [one])
    assert one.output_ids == expected(one, 6)
    assert ahead(alone) == 1
    assert all(inputs.token_from is None for inputs in alone.launches)


@pytest.mark.parametrize("when", ["launch", "read"])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("road", ROADS)
def test_a_device_that_breaks_ends_everybody_with_an_error_and_leaks_nothing(
    when: Literal["launch", "read"], depth: int, road: tuple[str, ...]
) -> None:
    for at in range(1, 14):
        breaks = Breaks(at, when)
        _, parts = late(limits(blocks=17), road=road, breaks=breaks)
        engine, asked = parts.engine(max_in_flight=depth), nine()
        for one in asked:
            engine.add(one)
        with pytest.raises(Broken):
            drain(engine)
        ended = Counter(one.finish_reason for one in asked)
        assert set(ended) <= {"error", "length"}
        assert ended["error"] > 0
        assert {one.phase for one in asked} == {Phase.FINISHED}
        for one in asked:
            assert one.output_ids == expected(one, len(one.output_ids))
        stats = engine.stats
        assert not engine.has_work
        engine.check_integrity()
        assert (stats.free_blocks, stats.remembered_blocks) == (16, 0)
    again = nine()
    run(engine, again)
    assert [one.output_ids for one in again] == [expected(one, 20) for one in again]


@pytest.mark.parametrize("depth", [1, 2])
def test_a_steady_step_makes_no_object_for_each_request(depth: int) -> None:
    """Counts what Python has allocated, and a step and its delta still hold."""

    def held(num_requests: int) -> int:
        allowed = Limits(
            max_context_tokens=512,
            num_blocks=num_requests * 8 + 1,
            block_size=64,
            max_requests=num_requests,
            max_step_tokens=num_requests * 8,
            vocab_size=VOCAB_SIZE,
        )
        engine = heart(IdleProgram(), allowed).engine(max_in_flight=depth)
        for number in range(num_requests):
            engine.add(request(f"{number}", [1, 2, 3, 4, 5]))
        for _ in range(8):
            delta = engine.step()
        assert len(delta.tokens) == num_requests
        counts = []
        for _ in range(8):
            before = sys.getallocatedblocks()
            delta = engine.step()
            counts.append(sys.getallocatedblocks() - before)
        return max(counts)

    assert held(1024) < 100
