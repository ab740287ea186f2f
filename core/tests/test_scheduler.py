"""The scheduler on random walks, and the rules of who gets what in a step.

The model without weights stands behind it, so that each walk also checks every token.
"""

from __future__ import annotations

import os
import random

import numpy as np
import pytest

from octavo.errors import ClientError, InternalError, OperatorError, PromptTooLong
from octavo.heart import heart
from octavo.request import Phase, Request, RequestId
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits, Scheduler
from octavo.step import Step
from octavo.testing.laggard import Laggard
from octavo.testing.moves import Moves
from octavo.testing.null import NullProgram, by_hand
from octavo_platforms.inputs import StepResult

VOCAB_SIZE = 97
# A nightly run walks further: OCTAVO_WALK_MOVES=200000
NUM_MOVES = int(os.environ.get("OCTAVO_WALK_MOVES", "2000"))
MOVES = (
    *["add", "schedule", "schedule", "commit", "commit"] * 2,
    "abort",
    "ahead",
    "break",
    "lose",
)


def limits(
    *,
    context: int = 40,
    blocks: int = 15,
    requests: int = 4,
    step_tokens: int = 9,
    prefix_caching: bool = True,
) -> Limits:
    return Limits(
        max_context_tokens=context,
        num_blocks=blocks,
        block_size=4,
        max_requests=requests,
        max_step_tokens=step_tokens,
        vocab_size=VOCAB_SIZE,
        prefix_caching=prefix_caching,
    )


def request(name: str, prompt: list[int], *, is_late: bool = False, **params: object) -> Request:
    sampling = SamplingParams(**{"temperature": 0.0, **params})  # type: ignore[arg-type]
    return Request(name, prompt, sampling, is_late=is_late)


class Desk(Moves):
    """A scheduler with a late program behind it, whose books can be checked."""

    def __init__(self, allowed: Limits) -> None:
        self.device = Laggard(NullProgram(allowed))
        super().__init__(heart(self.device, allowed))

    def check(self) -> None:
        """Hold the books of blocks, seats and queues against each other."""
        scheduler = self.scheduler
        seats, main = scheduler.seats, scheduler.holdings.main
        pool, tables = main.pool, main.tables
        listed = tables.blocks[tables.blocks != 0]
        assert pool.faults() == []
        assert pool.num_held == len(set(listed.tolist()))
        assert seats.num_taken == scheduler.num_running
        taken = np.flatnonzero(seats.tickets)
        assert len(taken) == seats.num_taken
        assert (seats.computed[taken] <= seats.expected[taken]).all()
        assert (seats.known[taken] <= seats.expected[taken]).all()
        assert (seats.expected[taken] <= seats.end[taken]).all()
        assert scheduler.num_unread == len(self.in_flight)
        promised = seats.expected[taken] - seats.known[taken]
        assert (promised <= scheduler.num_unread).all()
        assert (promised[seats.is_late[taken]] <= 1).all()
        assert (seats.computed[taken] <= tables.num_tokens[taken]).all()
        ended = [one for one in scheduler.requests() if one.phase is Phase.FINISHED]
        assert not ended
        running, waiting = (
            [one.arrival or 0 for one in scheduler.requests() if one.phase is phase]
            for phase in (Phase.RUNNING, Phase.WAITING)
        )
        assert len(running) == scheduler.num_running
        assert len(waiting) == scheduler.num_waiting
        assert not running or not waiting or max(running) < min(waiting)

    def drain(self) -> None:
        while self.schedule() is not None or self.in_flight:
            self.commit()


def check_step(step: Step, allowed: Limits) -> None:
    assert 0 < step.num_tokens.sum() <= allowed.max_step_tokens
    assert 0 < len(step.seats) <= allowed.max_requests
    assert (step.num_tokens > 0).all()
    assert len(set(step.seats.tolist())) == len(step.seats) == len(step.request_ids)


def expected(one: Request, num_tokens: int) -> list[int]:
    assert one.seed is not None
    return by_hand(
        one.prompt_ids.tolist(),
        num_tokens=num_tokens,
        vocab_size=VOCAB_SIZE,
        temperature=one.params.temperature,
        seed=one.seed,
    )


def random_request(name: str, chance: random.Random, longest: int) -> Request:
    """Draw a request whose prompt may begin as others do."""
    stem = [chance.choice([7, 8]) * 5] * chance.randint(1, longest // 2)
    tail = [chance.randrange(VOCAB_SIZE) for _ in range(chance.randint(0, longest // 2 - 1))]
    return request(
        name,
        stem + tail,
        temperature=chance.choice([0.0, 0.8]),
        max_tokens=chance.choice([1, 9, None, None]),
        stop_token_ids=[chance.randrange(VOCAB_SIZE) for _ in range(chance.randint(0, 4))],
        is_late=chance.random() < 0.2,
    )


def walk(allowed: Limits, *, depth: int, num_moves: int, seed: int) -> int:
    """Make random moves, check the books after each, and every token at the end."""
    chance, desk = random.Random(seed), Desk(allowed)
    requests: dict[RequestId, Request] = {}
    made: dict[RequestId, list[int]] = {}
    for number in range(num_moves):
        move = chance.choice(MOVES)
        if move == "add" and desk.scheduler.num_waiting < 6:
            one = random_request(f"r{number}", chance, allowed.num_context_tokens - 1)
            desk.scheduler.add(one)
            requests[one.request_id], made[one.request_id] = one, []
        elif move == "schedule" and len(desk.in_flight) < depth:
            step = desk.schedule()
            if step is not None:
                check_step(step, allowed)
        elif move == "commit" and desk.in_flight:
            delta = desk.commit()
            for name, token in zip(delta.request_ids, delta.tokens.tolist(), strict=True):
                made[name].append(token)
            for name, reason in delta.finished.items():
                assert requests[name].finish_reason == reason
        elif move == "abort" and requests and chance.random() < 0.3:
            name = chance.choice(sorted(requests))
            was_over = requests[name].phase is Phase.FINISHED
            assert (desk.scheduler.end(requests[name].request_id, "abort") is None) == was_over
        elif move == "ahead":
            desk.device.run_ahead()
        elif move == "break" and chance.random() < 0.03:
            desk.device.break_next(chance.choice(["launch", "read"]))
        elif move == "lose" and chance.random() < 0.1:
            desk.device.lose_next()
        desk.check()
    for one in list(desk.scheduler.requests()):
        desk.scheduler.end(one.request_id, "abort")
    desk.drain()
    desk.check()
    assert desk.scheduler.holdings.main.pool.num_held == 0
    assert desk.scheduler.seats.num_taken == 0
    for name, one in requests.items():
        assert made[name] == one.output_ids == expected(one, len(made[name]))
        if one.finish_reason == "stop":
            assert made[name][-1] in one.stop_ids
        assert not set(made[name][:-1]) & one.stop_ids
    assert desk.num_broken > 0, "a walk on which nothing broke shows nothing of it"
    assert desk.scheduler.num_corrupted > 0, "a walk on which all were well shows nothing of it"
    return desk.scheduler.num_preemptions


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("prefix_caching", [True, False])
def test_after_any_walk_nothing_leaks_and_every_token_is_right(
    depth: int, prefix_caching: bool
) -> None:
    allowed = limits(prefix_caching=prefix_caching)
    preemptions = walk(allowed, depth=depth, num_moves=NUM_MOVES, seed=depth)
    assert preemptions > 0, "a walk that never ran out of blocks shows nothing of it"


def test_tokens_short_by_one_come_first_and_the_rest_of_the_budget_goes_by_arrival() -> None:
    desk = Desk(limits(step_tokens=10))
    for name, length in (("a", 2), ("b", 12), ("c", 3)):
        desk.scheduler.add(request(name, list(range(length))))
    first = desk.schedule()
    assert first is not None
    assert list(zip(first.request_ids, first.num_tokens.tolist(), strict=True)) == [
        ("a", 2), ("b", 8),
    ]  # fmt: skip
    assert first.rows.tolist() == [0]
    desk.commit()
    second = desk.schedule()
    assert second is not None
    assert second.num_tokens.tolist() == [1, 4, 3]
    assert second.rows.tolist() == [0, 1, 2]
    assert (second.computed.tolist(), second.admitted.tolist()) == ([2, 8, 0], [3])


def test_a_prefix_hit_never_covers_the_whole_prompt() -> None:
    desk = Desk(limits())
    first, second = (request(name, list(range(8)), max_tokens=1) for name in "ab")
    for one in (first, second):
        desk.scheduler.add(one)
        desk.drain()
    assert (first.num_cached_tokens, second.num_cached_tokens) == (0, 4)
    assert second.output_ids == first.output_ids


def test_what_a_prefix_hit_covers_is_not_computed_again() -> None:
    desk = Desk(limits(step_tokens=20))
    for name in "ab":
        desk.scheduler.add(request(name, list(range(11)), max_tokens=1))
        step = desk.schedule()
        desk.commit()
    assert step is not None
    assert (step.computed.tolist(), step.num_tokens.tolist()) == ([8], [3])


def test_requests_of_different_salts_share_no_blocks() -> None:
    desk = Desk(limits())
    for salt in ("", "x", "x"):
        one = Request(
            f"r{desk.scheduler.holdings.main.pool.num_remembered}", list(range(9)),
            SamplingParams(max_tokens=1), cache_salt=salt,
        )  # fmt: skip
        desk.scheduler.add(one)
        desk.drain()
    assert desk.scheduler.num_prefix_hit_tokens == one.num_cached_tokens == 8


def test_a_later_turn_finds_the_output_of_the_turn_before() -> None:
    desk = Desk(limits())
    first = request("a", [1, 2, 3], max_tokens=10)
    desk.scheduler.add(first)
    desk.drain()
    second = request("b", [1, 2, 3, *first.output_ids, 5], max_tokens=1)
    desk.scheduler.add(second)
    desk.drain()
    assert second.num_cached_tokens == 12


def test_the_last_to_arrive_is_preempted_and_waits_in_front() -> None:
    desk = Desk(limits(blocks=7, context=16))
    for name in "abc":
        desk.scheduler.add(request(name, [ord(name) % 90] * 4, max_tokens=12))
    preempted: list[tuple[str, ...]] = []
    before = 0
    while desk.schedule() is not None:
        if desk.scheduler.num_preemptions > before:
            before = desk.scheduler.num_preemptions
            preempted.append(tuple(one.request_id for one in desk.scheduler.requests()
                                   if one.phase is Phase.WAITING))  # fmt: skip
        desk.commit()
    assert preempted[:2] == [("c",), ("b", "c")]


def test_who_loses_its_seat_sits_again_at_once_where_another_holds_its_blocks() -> None:
    """Both came together, and so each computed the same blocks; one has the names."""
    desk = Desk(limits(blocks=7, context=20, step_tokens=20))
    asked = [request(name, [5] * 8, max_tokens=8) for name in "ab"]
    for one in asked:
        desk.scheduler.add(one)
    while not desk.scheduler.num_preemptions:
        desk.schedule()
        desk.check()
        desk.commit()
    assert desk.scheduler.num_running == 2
    desk.drain()
    assert [one.output_ids for one in asked] == [expected(one, 8) for one in asked]


def test_seats_are_given_in_the_order_of_arrival() -> None:
    chance, desk = random.Random(5), Desk(limits(blocks=12))
    seated: list[int] = []
    for number in range(200):
        desk.scheduler.add(random_request(str(number), chance, 38))
        step = desk.schedule()
        assert step is not None
        seated += [int(name) for name in step.request_ids if int(name) not in seated]
        desk.commit()
    while (step := desk.schedule()) is not None:
        seated += [int(name) for name in step.request_ids if int(name) not in seated]
        desk.commit()
    assert seated == list(range(200))


def test_the_first_to_arrive_is_never_delayed_by_those_after_it() -> None:
    def steps_taken(num_others: int) -> int:
        desk = Desk(limits(step_tokens=4, blocks=11))
        first = request("first", list(range(20)), max_tokens=20)
        desk.scheduler.add(first)
        for number in range(num_others):
            desk.scheduler.add(request(f"other{number}", [number % VOCAB_SIZE] * 9))
        count = 0
        while first.phase is not Phase.FINISHED:
            desk.schedule()
            desk.commit()
            count += 1
        return count

    assert steps_taken(0) == steps_taken(30)


@pytest.mark.parametrize(("context", "blocks", "longest"), [(40, 99, 39), (99, 6, 19)])
def test_a_prompt_that_can_never_fit_is_refused_with_the_limit(
    context: int, blocks: int, longest: int
) -> None:
    desk = Desk(limits(context=context, blocks=blocks))
    with pytest.raises(PromptTooLong) as caught:
        desk.scheduler.add(request("long", [1] * (longest + 1)))
    assert caught.value.limit_tokens == longest
    desk.scheduler.add(request("fits", [1] * longest))
    desk.drain()
    assert desk.scheduler.seats.num_taken == 0


def test_a_token_outside_the_vocabulary_and_an_id_in_use_are_refused() -> None:
    scheduler = Scheduler(limits())
    scheduler.add(request("a", [VOCAB_SIZE - 1]))
    with pytest.raises(ClientError, match=str(VOCAB_SIZE)):
        scheduler.add(request("b", [VOCAB_SIZE]))
    with pytest.raises(ClientError, match="'a' is in use"):
        scheduler.add(request("a", [1]))
    assert scheduler.num_waiting == 1


def test_a_result_with_a_missing_row_is_our_bug() -> None:
    scheduler = Scheduler(limits())
    scheduler.add(request("a", [1]))
    step = scheduler.schedule()
    assert step is not None
    with pytest.raises(InternalError):
        scheduler.commit(step, StepResult(np.zeros((0, 1), np.int32), np.zeros(0, np.int32), {}))


def test_a_row_of_a_request_that_ended_meanwhile_is_dropped_though_its_seat_is_taken() -> None:
    desk = Desk(limits(requests=1))
    first, second = request("a", [1, 2, 3], max_tokens=5), request("b", [4], max_tokens=2)
    desk.scheduler.add(first)
    desk.scheduler.add(second)
    desk.schedule()
    desk.scheduler.end(first.request_id, "abort")
    desk.schedule()
    assert second.seat == 1
    assert list(desk.commit().request_ids) == []
    assert list(desk.commit().request_ids) == ["b"]
    desk.drain()
    assert second.output_ids == expected(second, 2)


@pytest.mark.parametrize(
    "wrong", [{"requests": 0}, {"requests": 10}, {"blocks": 1}, {"context": 1}]
)
def test_limits_under_which_nothing_could_run_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(OperatorError):
        limits(**wrong)  # type: ignore[arg-type]
