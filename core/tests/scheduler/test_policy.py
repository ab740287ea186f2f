"""Policies: who is seated first, who loses its seat, and that nobody is passed over for ever."""

from __future__ import annotations

import os
import random
from typing import Literal

import pytest

from octavo.config import PolicyName
from octavo.request import Phase, Request
from octavo.scheduler import Limits
from octavo.step import Step
from octavo.testing.walks import Walk
from octavo_platforms.rules import StepRules

# A nightly run walks further: OCTAVO_WALK_MOVES=200000
NUM_MOVES = int(os.environ.get("OCTAVO_WALK_MOVES", "2000"))
MOVES = (*["add", "schedule", "schedule", "commit", "commit"] * 2, "abort", "ahead", "break")


def limits(
    *, policy: PolicyName, blocks: int = 15, requests: int = 4, step_tokens: int = 9, spare: int = 0
) -> Limits:
    return Limits(
        max_context_tokens=40,
        num_blocks=blocks,
        block_size=4,
        max_requests=requests,
        max_step_tokens=step_tokens,
        vocab_size=97,
        policy=policy,
        num_spare_blocks=spare,
    )


def turn(one: Request) -> tuple[int, int]:
    assert one.arrival is not None
    return one.priority, one.arrival


def lost(walk: Walk, policy: PolicyName) -> set[str]:
    """Make a step; say who lost a seat, each of whom had the worst turn of all who ran."""
    tickets = walk.scheduler.seats.tickets
    before = {one.request_id: int(tickets[one.seat or 0]) for one in walk.in_phase(Phase.RUNNING)}
    turns = {name: turn(walk.requests[name]) for name in before}
    known = turns if policy == "priority" else {name: (0, turns[name][1]) for name in before}
    walk.schedule()
    gone = {name for name in before if tickets[walk.requests[name].seat or 0] != before[name]}
    stayed = [known[name] for name in known if name not in gone]
    assert all(known[name] > each for name in gone for each in stayed)
    return {str(name) for name in gone}


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("policy", ["fcfs", "priority"])
def test_after_any_walk_the_worst_turn_lost_its_seat_and_every_token_is_right(
    policy: Literal["fcfs", "priority"], depth: int
) -> None:
    chance, walk = random.Random(depth), Walk(limits(policy=policy))
    num_lost = 0
    for number in range(NUM_MOVES):
        move = chance.choice(MOVES)
        if move == "add" and walk.scheduler.num_waiting < 6:
            walk.add_random(f"r{number}", chance)
        elif move == "schedule" and len(walk.in_flight) < depth:
            num_lost += len(lost(walk, policy))
        elif move == "commit" and walk.in_flight:
            walk.commit()
        elif move == "abort" and walk.requests and chance.random() < 0.3:
            walk.scheduler.end(chance.choice(list(walk.requests)), "abort")
        elif move == "ahead":
            walk.device.run_ahead()
        elif move == "break" and walk.in_flight and chance.random() < 0.03:
            walk.device.break_next("read")
        walk.check()
    assert num_lost == walk.scheduler.num_preemptions > 0
    assert walk.num_broken > 0, "a walk on which nothing broke shows nothing of it"
    walk.drain()
    walk.check_end()


@pytest.mark.parametrize(
    ("policy", "order"), [("fcfs", ["a", "b", "c", "d"]), ("priority", ["c", "b", "d", "a"])]
)
def test_seats_are_given_by_arrival_or_lowest_priority_first(
    policy: PolicyName, order: list[str]
) -> None:
    walk = Walk(limits(policy=policy, requests=1))
    for name, priority in (("a", 7), ("b", 0), ("c", -1), ("d", 0)):
        walk.add(name, [5, 6, 7], priority=priority, max_tokens=2)
    walk.drain()
    assert list(walk.ended) == order


def test_the_urgent_get_a_steps_tokens_first_though_they_came_last() -> None:
    rules = StepRules(max_part_tokens=4)
    walk = Walk(limits(policy="priority", step_tokens=6), rules=rules)
    walk.add("slow", [1] * 20, priority=1)
    walk.schedule()
    walk.add("fast", [2] * 9, priority=0)
    parts = []
    for _ in range(3):
        step = walk.schedule()
        assert step is not None
        parts.append(dict(zip(step.request_ids, step.num_tokens.tolist(), strict=True)))
        assert list(step.request_ids) == ["fast", "slow"]
    assert parts == [{"slow": 4, "fast": 2}, {"fast": 4, "slow": 2}, {"fast": 3, "slow": 3}]


@pytest.mark.parametrize(("policy", "victim"), [("fcfs", "b"), ("priority", "a")])
def test_where_blocks_run_out_the_right_one_waits_again(policy: PolicyName, victim: str) -> None:
    walk = Walk(limits(policy=policy, blocks=8))
    walk.add("a", [1] * 8, priority=1, max_tokens=30)
    walk.add("b", [2] * 8, priority=0, max_tokens=30)
    while not walk.scheduler.num_preemptions:
        walk.schedule()
        walk.commit()
    assert [one.request_id for one in walk.in_phase(Phase.WAITING)] == [victim]
    walk.drain()
    walk.check_end()


def test_by_arrival_nobody_waits_for_more_than_those_who_came_before() -> None:
    """Requests keep coming, more than there is room for; each ends soon after those before it."""
    chance, walk = random.Random(3), Walk(limits(policy="fcfs"))
    for number in range(300):
        walk.add_random(f"{number}", chance)
        walk.schedule()
        walk.commit()
        ended = [int(name) for name in walk.ended]
        if ended:
            before = set(range(max(ended))) - set(ended)
            assert len(before) <= walk.scheduler.limits.max_requests
    walk.drain()
    walk.check_end()


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("policy", ["fcfs", "priority"])
def test_no_seat_is_lost_within_a_block_of_steps_after_one_was_given(
    policy: Literal["fcfs", "priority"], depth: int
) -> None:
    chance, walk = random.Random(4), Walk(limits(policy=policy, blocks=20, requests=6))
    since_given, num_lost = 0, 0
    for number in range(1000):
        if walk.scheduler.num_waiting < 4:
            walk.add_random(f"{number}", chance)
        before = walk.scheduler.num_preemptions
        step = walk.schedule()
        if walk.scheduler.num_preemptions > before:
            num_lost += 1
            assert since_given >= walk.scheduler.limits.block_size - 1
        if step is not None:
            since_given = 0 if len(step.admitted) else since_given + 1
        if len(walk.in_flight) == depth or step is None:
            walk.commit()
    assert num_lost > 2


def test_spare_blocks_stay_free_when_somebody_is_seated_beside_others() -> None:
    def seated(spare: int) -> int:
        walk = Walk(limits(policy="fcfs", spare=spare, step_tokens=40))
        for name in "abc":
            walk.add(name, [ord(name) % 90] * 12, max_tokens=1)
        step: Step | None = walk.schedule()
        assert step is not None
        return len(step.seats)

    assert (seated(0), seated(5), seated(8), seated(99)) == (3, 3, 2, 1)
