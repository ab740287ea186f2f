"""Policies: who is seated first, who loses its seat, and that nobody is passed over for ever."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from typing import Literal

import pytest

from octavo.config import PolicyName
from octavo.request import Phase, Request
from octavo.step import Step
from octavo.testing.walks import MOVES, NARROW, Walk
from octavo_platforms.rules import StepRules

# A nightly run walks further: OCTAVO_WALK_MOVES=200000
NUM_MOVES = int(os.environ.get("OCTAVO_WALK_MOVES", "2000"))


def turn(one: Request) -> tuple[int, int]:
    assert one.arrival is not None
    return one.priority, one.arrival


class Witness(Walk):
    """A walk that sees who loses a seat, each of whom had the worst turn of all who ran."""

    num_lost = 0

    def schedule(self) -> Step | None:
        tickets = self.scheduler.seats.tickets
        ran = self.in_phase(Phase.RUNNING)
        before = {one.request_id: int(tickets[one.seat or 0]) for one in ran}
        step = super().schedule()
        gone = {name for name in before if tickets[self.requests[name].seat or 0] != before[name]}
        by_arrival = self.scheduler.limits.policy == "fcfs"
        turns = {one.request_id: turn(one)[1:] if by_arrival else turn(one) for one in ran}
        stayed = [each for name, each in turns.items() if name not in gone]
        assert all(turns[name] > each for name in gone for each in stayed)
        self.num_lost += len(gone)
        return step


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("policy", ["fcfs", "priority"])
def test_after_any_walk_the_worst_turn_lost_its_seat_and_every_token_is_right(
    policy: Literal["fcfs", "priority"], depth: int
) -> None:
    walk = Witness(replace(NARROW, policy=policy))
    moves = [move for move in MOVES if move != "break launch"]  # which ends all who ran
    walk.wander(NUM_MOVES, seed=depth, depth=depth, moves=moves)
    assert walk.num_lost == walk.scheduler.num_preemptions > 0


@pytest.mark.parametrize(
    ("policy", "order"), [("fcfs", ["a", "b", "c", "d"]), ("priority", ["c", "b", "d", "a"])]
)
def test_seats_are_given_by_arrival_or_lowest_priority_first(
    policy: PolicyName, order: list[str]
) -> None:
    walk = Walk(replace(NARROW, policy=policy, max_requests=1))
    for name, priority in (("a", 7), ("b", 0), ("c", -1), ("d", 0)):
        walk.add(name, [5, 6, 7], priority=priority, max_tokens=2)
    walk.drain()
    assert list(walk.ended) == order


def test_the_urgent_get_a_steps_tokens_first_though_they_came_last() -> None:
    rules = StepRules(max_part_tokens=4)
    walk = Walk(replace(NARROW, policy="priority", max_step_tokens=6), rules=rules)
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
    walk = Walk(replace(NARROW, policy=policy, num_blocks=8))
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
    chance, walk = random.Random(3), Walk(replace(NARROW, policy="fcfs"))
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
    chance = random.Random(4)
    walk = Walk(replace(NARROW, policy=policy, num_blocks=20, max_requests=6))
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
        walk = Walk(replace(NARROW, policy="fcfs", num_spare_blocks=spare, max_step_tokens=40))
        for name in "abc":
            walk.add(name, [ord(name) % 90] * 12, max_tokens=1)
        step: Step | None = walk.schedule()
        assert step is not None
        return len(step.seats)

    assert (seated(0), seated(5), seated(8), seated(99)) == (3, 3, 2, 1)
