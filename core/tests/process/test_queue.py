"""The queue before the engine: fair between groups, bounded, and right after any moves."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest

from octavo.errors import ClientError, LaterError
from octavo.process.queue import Load, Queue, QueueLimits
from octavo.process.rate import Rate
from octavo.request import Request, RequestId
from octavo.sampling import SamplingParams

# A nightly run walks further: OCTAVO_WALK_MOVES=200000
NUM_MOVES = int(os.environ.get("OCTAVO_WALK_MOVES", "2000"))


def group(name: str, count: int, *, tokens: int = 1) -> list[Request]:
    """Make requests, each with a prompt of its own."""
    return [
        Request(f"{name}{turn}", [turn + 1] * tokens, SamplingParams()) for turn in range(count)
    ]


def put(queue: Queue, requests: list[Request], *, num_waiting: int = 0, num_free: int = 0) -> None:
    """Put a group before an engine of eight seats."""
    queue.put(requests, Load(8 - num_free, num_waiting, 8))


def drained(queue: Queue) -> list[str]:
    names = []
    while (request := queue.take()) is not None:
        names.append(str(request.request_id))
    return names


def test_a_call_for_many_delays_another_by_one_of_them() -> None:
    queue = Queue(QueueLimits())
    put(queue, group("a", 10_000))
    assert queue.take() is not None
    put(queue, group("b", 2))
    assert drained(queue)[:5] == ["a1", "b0", "a2", "b1", "a3"]


def test_calls_for_one_are_served_in_their_order() -> None:
    queue = Queue(QueueLimits())
    for name in "edcba":
        put(queue, group(name, 1))
    assert drained(queue) == ["e0", "d0", "c0", "b0", "a0"]


def test_what_would_wait_beyond_the_limit_is_refused_whole() -> None:
    queue = Queue(QueueLimits(max_requests=3))
    put(queue, group("a", 5), num_free=2)
    with pytest.raises(LaterError, match="5 requests wait, and 3 may") as refusal:
        put(queue, group("b", 1))
    assert refusal.value.retry_after_s
    assert len(drained(queue)) == 5


@pytest.mark.parametrize(("ended_per_s", "wait_s"), [(0.0, 1.0), (0.5, 8.0), (0.01, 60.0)])
def test_a_client_is_told_when_as_many_will_have_ended_as_came_too_many(
    ended_per_s: float, wait_s: float
) -> None:
    load = Load(num_running=8, num_waiting=3, num_seats=8, ended_per_s=ended_per_s)
    with pytest.raises(LaterError) as refusal:
        Queue(QueueLimits(max_requests=3)).put(group("a", 4), load)
    assert refusal.value.retry_after_s == wait_s
    full = replace(load, num_waiting=10)
    with pytest.raises(LaterError) as refusal:
        QueueLimits(max_tokens=100).check(1, 165, full)
    assert refusal.value.retry_after_s == wait_s


def test_what_ended_long_ago_says_little_of_how_fast_requests_end() -> None:
    rate = Rate(0.0, memory_s=10.0)
    assert rate.per_s(0.0) == 0.0
    for now_s in range(1, 101):
        rate.count(3, float(now_s))
    assert rate.per_s(100.0) == pytest.approx(3.0, rel=0.1)
    assert rate.per_s(110.0) < 0.4 * rate.per_s(100.0)
    assert rate.per_s(200.0) < 0.01


def test_those_that_wait_in_the_engine_count_too() -> None:
    queue = Queue(QueueLimits(max_requests=3))
    put(queue, group("a", 1), num_waiting=2)
    with pytest.raises(LaterError):
        put(queue, group("b", 1), num_waiting=2)


def test_nobody_waits_where_nobody_may_but_free_seats_are_given() -> None:
    queue = Queue(QueueLimits(max_requests=0))
    put(queue, group("a", 2), num_free=2)
    assert len(drained(queue)) == 2
    with pytest.raises(LaterError):
        put(queue, group("b", 1))


def test_a_call_that_could_never_wait_is_the_clients_to_mend() -> None:
    with pytest.raises(ClientError, match="12 outputs, but 8 may run and 3 may wait"):
        put(Queue(QueueLimits(max_requests=3)), group("a", 12))


def test_tokens_are_bounded_but_a_long_prompt_alone_may_come() -> None:
    queue = Queue(QueueLimits(max_tokens=10))
    put(queue, group("a", 1, tokens=50))
    with pytest.raises(LaterError, match="50 prompt tokens wait"):
        put(queue, group("b", 1))
    assert drained(queue) == ["a0"]
    put(queue, group("c", 2, tokens=4))
    with pytest.raises(LaterError, match="8 prompt tokens wait, 4 came, and 10 may"):
        put(queue, group("d", 1, tokens=4))


def test_after_any_walk_exactly_those_are_left_who_came_and_did_not_leave() -> None:
    chance = random.Random(5)
    queue = Queue(QueueLimits(max_requests=40, max_tokens=150))
    inside: dict[str, int] = {}
    for turn in range(NUM_MOVES):
        move = chance.choice(["put", "take", "remove"])
        if move == "put":
            came = group(f"{turn}-", chance.randint(1, 9), tokens=chance.randint(1, 9))
            try:
                put(queue, came)
            except LaterError:
                continue
            inside |= {str(each.request_id): each.num_prompt_tokens for each in came}
        elif move == "take":
            taken = queue.take()
            assert (taken is None) == (not inside)
            if taken is not None:
                del inside[str(taken.request_id)]
        else:
            name = chance.choice([*inside, "nobody"])
            removed = queue.remove(RequestId(name))
            assert removed == (inside.pop(name, None) is not None)
        assert len(queue) == len(inside) <= 40
        assert queue.num_tokens == sum(inside.values())
    assert sorted(drained(queue)) == sorted(inside)


def test_those_who_share_a_prompt_wait_for_the_first_of_them_to_begin() -> None:
    queue = Queue(QueueLimits())
    prompts = [[1, 2], [1, 2], [1, 2], [3], [3]]
    forks = [Request(f"f{index}", ids, SamplingParams()) for index, ids in enumerate(prompts)]
    put(queue, forks)
    put(queue, group("a", 2))
    assert drained(queue) == ["f0", "a0", "a1"]
    queue.release(RequestId("f0"))
    assert drained(queue) == ["f1", "f2", "f3"]
    queue.release(RequestId("f3"))
    assert drained(queue) == ["f4"]


def test_those_who_waited_for_one_that_left_go_on() -> None:
    queue = Queue(QueueLimits())
    put(queue, [Request(f"f{index}", [1], SamplingParams()) for index in range(3)])
    assert queue.remove(RequestId("f0"))
    assert drained(queue) == ["f1", "f2"]
