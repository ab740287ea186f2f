"""The scheduler on random walks, and the rules of who gets what in a step.

The model without weights stands behind it, so that each walk also checks every token.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace

import numpy as np
import pytest

from octavo.errors import ClientError, InternalError, OperatorError, PromptTooLong
from octavo.request import Phase, Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Scheduler
from octavo.testing.walks import NARROW, Walk
from octavo_platforms.inputs import StepResult

VOCAB_SIZE = NARROW.vocab_size
# A nightly run walks further: OCTAVO_WALK_MOVES=200000
NUM_MOVES = int(os.environ.get("OCTAVO_WALK_MOVES", "2000"))


def request(name: str, prompt: list[int]) -> Request:
    return Request(name, prompt, SamplingParams(temperature=0.0))


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("prefix_caching", [True, False])
def test_after_any_walk_nothing_leaks_and_every_token_is_right(
    depth: int, prefix_caching: bool
) -> None:
    walk = Walk(replace(NARROW, prefix_caching=prefix_caching))
    walk.wander(NUM_MOVES, seed=depth, depth=depth)
    assert walk.scheduler.num_preemptions > 0, "a walk that never ran out shows nothing of it"


def test_tokens_short_by_one_come_first_and_the_rest_of_the_budget_goes_by_arrival() -> None:
    walk = Walk(replace(NARROW, max_step_tokens=10))
    for name, length in (("a", 2), ("b", 12), ("c", 3)):
        walk.add(name, list(range(length)))
    first = walk.schedule()
    assert first is not None
    assert list(zip(first.request_ids, first.num_tokens.tolist(), strict=True)) == [
        ("a", 2), ("b", 8),
    ]  # fmt: skip
    assert first.rows.tolist() == [0]
    walk.commit()
    second = walk.schedule()
    assert second is not None
    assert second.num_tokens.tolist() == [1, 4, 3]
    assert second.rows.tolist() == [0, 1, 2]
    assert (second.computed.tolist(), second.admitted.tolist()) == ([2, 8, 0], [3])


def test_a_prefix_hit_never_covers_the_whole_prompt() -> None:
    walk = Walk(NARROW)
    cached = []
    for name in "ab":
        one = walk.add(name, list(range(8)), max_tokens=1)
        walk.drain()
        cached.append(one.num_cached_tokens)
    assert cached == [0, 4]
    walk.check_end()


def test_what_a_prefix_hit_covers_is_not_computed_again() -> None:
    walk = Walk(replace(NARROW, max_step_tokens=20))
    for name in "ab":
        walk.add(name, list(range(11)), max_tokens=1)
        step = walk.schedule()
        walk.commit()
    assert step is not None
    assert (step.computed.tolist(), step.num_tokens.tolist()) == ([8], [3])


def test_requests_of_different_salts_share_no_blocks() -> None:
    walk = Walk(NARROW)
    for name, salt in (("a", ""), ("b", "x"), ("c", "x")):
        one = walk.add(name, list(range(9)), salt=salt, max_tokens=1)
        walk.drain()
    assert walk.scheduler.num_prefix_hit_tokens == one.num_cached_tokens == 8


def test_a_later_turn_finds_the_output_of_the_turn_before() -> None:
    walk = Walk(NARROW)
    first = walk.add("a", [1, 2, 3], max_tokens=10)
    walk.drain()
    second = walk.add("b", [1, 2, 3, *first.output_ids, 5], max_tokens=1)
    walk.drain()
    assert second.num_cached_tokens == 12


def test_the_last_to_arrive_is_preempted_and_waits_in_front() -> None:
    walk = Walk(replace(NARROW, num_blocks=7, max_context_tokens=16))
    for name in "abc":
        walk.add(name, [ord(name) % 90] * 4, max_tokens=12)
    preempted: list[tuple[str, ...]] = []
    before = 0
    while walk.schedule() is not None:
        if walk.scheduler.num_preemptions > before:
            before = walk.scheduler.num_preemptions
            preempted.append(tuple(one.request_id for one in walk.in_phase(Phase.WAITING)))
        walk.commit()
    assert preempted[:2] == [("c",), ("b", "c")]


def test_who_loses_its_seat_sits_again_at_once_where_another_holds_its_blocks() -> None:
    """Both came together, and so each computed the same blocks; one has the names."""
    walk = Walk(replace(NARROW, num_blocks=7, max_context_tokens=20, max_step_tokens=20))
    asked = [walk.add(name, [5] * 8, max_tokens=8) for name in "ab"]
    while not walk.scheduler.num_preemptions:
        walk.schedule()
        walk.check()
        walk.commit()
    assert walk.scheduler.num_running == 2
    walk.drain()
    walk.check_end()
    assert [len(one.output_ids) for one in asked] == [8, 8]


def test_seats_are_given_in_the_order_of_arrival() -> None:
    chance, walk = random.Random(5), Walk(replace(NARROW, num_blocks=12))
    seated: list[int] = []
    for number in range(200):
        walk.add_random(str(number), chance)
        step = walk.schedule()
        assert step is not None
        seated += [int(name) for name in step.request_ids if int(name) not in seated]
        walk.commit()
    while (step := walk.schedule()) is not None:
        seated += [int(name) for name in step.request_ids if int(name) not in seated]
        walk.commit()
    assert seated == list(range(200))


def test_the_first_to_arrive_is_never_delayed_by_those_after_it() -> None:
    def steps_taken(num_others: int) -> int:
        walk = Walk(replace(NARROW, max_step_tokens=4, num_blocks=11))
        first = walk.add("first", list(range(20)), max_tokens=20)
        for number in range(num_others):
            walk.add(f"other{number}", [number % VOCAB_SIZE] * 9)
        count = 0
        while first.phase is not Phase.FINISHED:
            walk.schedule()
            walk.commit()
            count += 1
        return count

    assert steps_taken(0) == steps_taken(30)


@pytest.mark.parametrize(("context", "blocks", "longest"), [(40, 99, 39), (99, 6, 19)])
def test_a_prompt_that_can_never_fit_is_refused_with_the_limit(
    context: int, blocks: int, longest: int
) -> None:
    walk = Walk(replace(NARROW, max_context_tokens=context, num_blocks=blocks))
    with pytest.raises(PromptTooLong) as caught:
        walk.add("long", [1] * (longest + 1))
    assert caught.value.limit_tokens == longest
    walk.add("fits", [1] * longest)
    walk.drain()
    assert walk.scheduler.seats.num_taken == 0


def test_a_token_outside_the_vocabulary_and_an_id_in_use_are_refused() -> None:
    scheduler = Scheduler(NARROW)
    scheduler.add(request("a", [VOCAB_SIZE - 1]))
    with pytest.raises(ClientError, match=str(VOCAB_SIZE)):
        scheduler.add(request("b", [VOCAB_SIZE]))
    with pytest.raises(ClientError, match="'a' is in use"):
        scheduler.add(request("a", [1]))
    assert scheduler.num_waiting == 1


def test_a_result_with_a_missing_row_is_our_bug() -> None:
    scheduler = Scheduler(NARROW)
    scheduler.add(request("a", [1]))
    step = scheduler.schedule()
    assert step is not None
    with pytest.raises(InternalError):
        scheduler.commit(step, StepResult(np.zeros((0, 1), np.int32), np.zeros(0, np.int32), {}))


def test_a_row_of_a_request_that_ended_meanwhile_is_dropped_though_its_seat_is_taken() -> None:
    walk = Walk(replace(NARROW, max_requests=1))
    first = walk.add("a", [1, 2, 3], max_tokens=5)
    second = walk.add("b", [4], max_tokens=2)
    walk.schedule()
    walk.abort(first.request_id)
    walk.schedule()
    assert second.seat == 1
    assert list(walk.commit().request_ids) == []
    assert list(walk.commit().request_ids) == ["b"]
    walk.drain()
    walk.check_end()
    assert len(second.output_ids) == 2


@pytest.mark.parametrize(
    "wrong",
    [{"max_requests": 0}, {"max_requests": 10}, {"num_blocks": 1}, {"max_context_tokens": 1}],
)
def test_limits_under_which_nothing_could_run_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(OperatorError):
        replace(NARROW, **wrong)  # type: ignore[arg-type]
