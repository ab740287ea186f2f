"""A scheduler that is moved by hand, with a late device behind it, and all its books checked.

`Walk` makes one move after the other, by name or by chance; after each, blocks, seats, queues and
promises have to agree, and at the end every token has to be the one that is computed by hand.

Knows nothing of what a test wants to show.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from octavo.heart import heart
from octavo.kv.groups import Blocks
from octavo.request import FinishReason, Phase, Request, RequestId
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.step import Delta, Step
from octavo.testing.laggard import Laggard
from octavo.testing.moves import Moves
from octavo.testing.null import NullProgram, output_by_hand
from octavo.testing.strict import Strict
from octavo_platforms.platform import Program
from octavo_platforms.program import StateSpec
from octavo_platforms.rules import ANY_STEP, StepRules

Move = Literal["add", "schedule", "commit", "abort", "ahead", "break launch", "break read", "lose"]
_TO_AND_FRO: Sequence[Move] = ("add", "schedule", "schedule", "commit", "commit")
MOVES: Sequence[Move] = (
    *_TO_AND_FRO,
    *_TO_AND_FRO,
    "abort",
    "ahead",
    "break launch",
    "break read",
    "lose",
)
"""The moves of a walk, each as often as it is to be made."""
NARROW = Limits(
    max_context_tokens=40,
    num_blocks=15,
    block_size=4,
    max_requests=4,
    max_step_tokens=9,
    vocab_size=97,
)
"""Limits under which seats, tokens and blocks all run out soon."""
_MOST_WAITING = 6


class Walk(Moves):
    """A scheduler and its launches in flight.

    Behind it is the model without weights, or another `program` of these `states`, with rules.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        rules: StepRules = ANY_STEP,
        program: Program | None = None,
        states: Sequence[StateSpec] = (),
        num_blocks: Mapping[str, int] | None = None,
        num_copies: int = 0,
    ) -> None:
        self.device = Laggard(Strict(NullProgram(limits) if program is None else program, rules))
        parts = heart(
            self.device, limits, states=states, num_blocks=num_blocks, num_copies=num_copies
        )
        super().__init__(parts)
        self.requests: dict[RequestId, Request] = {}
        self.made: dict[RequestId, list[int]] = {}
        self.ended: dict[RequestId, FinishReason] = {}

    def add(self, name: str, prompt: Sequence[int], *, priority: int = 0, is_late: bool = False,
            salt: str = "", **params: object) -> Request:  # fmt: skip
        """Let a request come."""
        sampling = SamplingParams(**{"temperature": 0.0, **params})  # type: ignore[arg-type]
        one = Request(
            name, list(prompt), sampling, cache_salt=salt, priority=priority, is_late=is_late
        )
        self.scheduler.add(one)
        self.requests[one.request_id], self.made[one.request_id] = one, []
        return one

    def add_random(self, name: str, chance: random.Random) -> Request:
        """Let a request come whose prompt may begin as others do."""
        longest = self.scheduler.limits.num_context_tokens - 1
        vocab_size = self.scheduler.limits.vocab_size
        stem = [chance.choice([7, 8]) * 5] * chance.randint(1, longest // 2)
        tail = [chance.randrange(vocab_size) for _ in range(chance.randint(0, longest // 2 - 1))]
        return self.add(
            name,
            stem + tail,
            priority=chance.randint(-2, 2),
            is_late=chance.random() < 0.2,
            salt=chance.choice(["", "", "x"]),
            temperature=chance.choice([0.0, 0.8]),
            max_tokens=chance.choice([1, 9, None, None]),
            stop_token_ids=[chance.randrange(vocab_size) for _ in range(chance.randint(0, 4))],
        )

    def schedule(self) -> Step | None:
        """Make a step and launch it, if it is one that the limits allow."""
        step = super().schedule()
        if step is not None:
            limits = self.scheduler.limits
            assert (step.num_tokens > 0).all()
            assert 0 < step.num_tokens.sum() <= limits.max_step_tokens
            assert 0 < len(step.seats) <= limits.max_requests
            assert len(set(step.seats.tolist())) == len(step.seats) == len(step.request_ids)
        return step

    def commit(self) -> Delta:
        """Read the oldest launch, and note what it made."""
        delta = super().commit()
        for name, token in zip(delta.request_ids, delta.tokens.tolist(), strict=True):
            self.made[name].append(token)
        for name, reason in delta.finished.items():
            assert self.requests[name].finish_reason == reason
        self.ended.update(delta.finished)
        return delta

    def abort(self, name: RequestId) -> None:
        """End a request; nothing comes of it where it has ended already."""
        was_over = self.requests[name].phase is Phase.FINISHED
        assert (self.scheduler.end(name, "abort") is None) == was_over

    def wander(
        self, num_moves: int, *, seed: int, depth: int, moves: Sequence[Move] = MOVES
    ) -> None:
        """Make moves at random, with so many launches in flight at most, and check after each.

        Then abort some of those who are left and let the others come to their end.
        """
        chance = random.Random(seed)
        for number in range(num_moves):
            self._move(chance.choice(moves), f"r{number}", chance, depth)
            self.check()
        for one in list(self.scheduler.requests())[::2]:
            self.abort(one.request_id)
        self.drain()
        self.check()
        self.check_end()
        assert self.num_broken > 0, "a walk on which nothing broke shows nothing of it"
        assert self.scheduler.num_corrupted > 0, "a walk on which all were well shows nothing of it"

    def _move(self, move: Move, name: str, chance: random.Random, depth: int) -> None:
        match move:
            case "add" if self.scheduler.num_waiting < _MOST_WAITING:
                self.add_random(name, chance)
            case "schedule" if len(self.in_flight) < depth:
                self.schedule()
            case "commit" if self.in_flight:
                self.commit()
            case "abort" if self.requests and chance.random() < 0.3:
                self.abort(chance.choice(list(self.requests)))
            case "ahead":
                self.device.run_ahead()
            case "break launch" if chance.random() < 0.03:
                self.device.break_next("launch")
            case "break read" if chance.random() < 0.03:
                self.device.break_next("read")
            case "lose" if chance.random() < 0.1:
                self.device.lose_next()

    def in_phase(self, phase: Phase) -> list[Request]:
        """Give the requests that stand somewhere."""
        return [one for one in self.scheduler.requests() if one.phase is phase]

    def check(self) -> None:
        """Hold the books of blocks, seats and queues against each other."""
        scheduler, seats = self.scheduler, self.scheduler.seats
        taken = np.flatnonzero(seats.tickets)
        for each in scheduler.holdings.groups:
            self._check_group(each)
        for pool in scheduler.holdings.pools:
            assert pool.faults() == []
            assert len(taken) or not pool.num_held
        assert len(taken) == seats.num_taken == scheduler.num_running
        assert (seats.computed[taken] <= seats.expected[taken]).all()
        assert (seats.known[taken] <= seats.expected[taken]).all()
        assert (seats.expected[taken] <= seats.end[taken]).all()
        assert scheduler.num_unread == len(self.in_flight)
        promised = seats.expected[taken] - seats.known[taken]
        assert (promised <= scheduler.num_unread).all()
        assert (promised[seats.is_late[taken]] <= 1).all()
        running, waiting = (
            [one.arrival or 0 for one in self.in_phase(phase)]
            for phase in (Phase.RUNNING, Phase.WAITING)
        )
        assert len(running) == scheduler.num_running
        assert len(waiting) == scheduler.num_waiting
        assert not self.in_phase(Phase.FINISHED)
        if scheduler.limits.policy == "fcfs":
            assert not running or not waiting or max(running) < min(waiting)

    def _check_group(self, each: Blocks) -> None:
        """Check that rows list blocks from the first that is seen to the last that has room."""
        tables, seats, window = each.tables, self.scheduler.seats, each.group.window
        listed = tables.blocks != 0
        assert each.pool.num_held == len(set(tables.blocks[listed].tolist()))
        counts = tables.num_tokens // tables.block_size
        places = np.arange(tables.blocks.shape[1])
        held = (places >= tables.first[:, None]) & (places < counts[:, None])
        assert (listed == held).all()
        taken = np.flatnonzero(seats.tickets)
        assert (seats.computed[taken] <= tables.num_tokens[taken]).all()
        unseen = 0 if window is None else np.maximum(seats.computed[taken] - window + 1, 0)
        assert (tables.first[taken] <= unseen // tables.block_size).all()

    def check_end(self) -> None:
        """Check that nothing is held, and that every token is the one that it has to be."""
        scheduler = self.scheduler
        assert not any(pool.num_held for pool in scheduler.holdings.pools)
        assert scheduler.seats.num_taken == 0
        for name, one in self.requests.items():
            made = self.made[name]
            assert one.phase is Phase.FINISHED
            assert made == one.output_ids
            vocab_size = scheduler.limits.vocab_size
            assert made == output_by_hand(one, len(made), vocab_size=vocab_size)
            if one.finish_reason == "stop":
                assert made[-1] in one.stop_ids
            assert not set(made[:-1]) & one.stop_ids
