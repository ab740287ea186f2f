"""A scheduler that is moved by hand, with a late device behind it, and all its books checked.

`Walk` makes one move after the other; after each, blocks, seats, queues and promises have to
agree, and at the end every token has to be the one that is computed by hand.

Knows nothing of what a test wants to show.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from octavo.heart import heart
from octavo.request import FinishReason, Phase, Request, RequestId
from octavo.sampling import SamplingParams
from octavo.scheduler import Gate, Limits
from octavo.step import Delta
from octavo.testing.laggard import Laggard
from octavo.testing.moves import Moves
from octavo.testing.null import NullProgram, by_hand
from octavo.testing.strict import Strict
from octavo_platforms.rules import ANY_STEP, StepRules


class Walk(Moves):
    """A scheduler and its launches in flight. `rules` are those of the program behind it."""

    def __init__(
        self, limits: Limits, *, gates: Sequence[Gate] = (), rules: StepRules = ANY_STEP
    ) -> None:
        self.device = Laggard(Strict(NullProgram(limits), rules))
        super().__init__(heart(self.device, limits, gates=gates))
        self.requests: dict[RequestId, Request] = {}
        self.made: dict[RequestId, list[int]] = {}
        self.ended: dict[RequestId, FinishReason] = {}

    def add(self, name: str, prompt: Sequence[int], *, priority: int = 0, is_late: bool = False,
            **params: object) -> Request:  # fmt: skip
        """Let a request come."""
        sampling = SamplingParams(**{"temperature": 0.0, **params})  # type: ignore[arg-type]
        one = Request(name, list(prompt), sampling, priority=priority, is_late=is_late)
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
            temperature=chance.choice([0.0, 0.8]),
            max_tokens=chance.choice([1, 9, None, None]),
            stop_token_ids=[chance.randrange(vocab_size) for _ in range(chance.randint(0, 4))],
        )

    def commit(self) -> Delta:
        """Read the oldest launch, and note what it made."""
        delta = super().commit()
        for name, token in zip(delta.request_ids, delta.tokens.tolist(), strict=True):
            self.made[name].append(token)
        self.ended.update(delta.finished)
        return delta

    def in_phase(self, phase: Phase) -> list[Request]:
        """Give the requests that stand somewhere."""
        return [one for one in self.scheduler.requests() if one.phase is phase]

    def check(self) -> None:
        """Hold the books of blocks, seats and queues against each other."""
        scheduler = self.scheduler
        seats, main = scheduler.seats, scheduler.holdings.main
        tables = main.tables
        assert main.pool.faults() == []
        assert main.pool.num_held == len(set(tables.blocks[tables.blocks != 0].tolist()))
        taken = np.flatnonzero(seats.tickets)
        assert len(taken) == seats.num_taken == scheduler.num_running
        assert (seats.computed[taken] <= seats.expected[taken]).all()
        assert (seats.known[taken] <= seats.expected[taken]).all()
        assert (seats.expected[taken] <= seats.end[taken]).all()
        assert (seats.computed[taken] <= tables.num_tokens[taken]).all()
        assert len(self.in_phase(Phase.RUNNING)) == scheduler.num_running
        assert len(self.in_phase(Phase.WAITING)) == scheduler.num_waiting

    def check_end(self) -> None:
        """Check that nothing is held, and that every token is the one that it has to be."""
        assert self.scheduler.holdings.main.pool.num_held == self.scheduler.seats.num_taken == 0
        for name, one in self.requests.items():
            assert self.made[name] == one.output_ids == self.right(one)
            assert one.phase is Phase.FINISHED
            if one.finish_reason == "stop":
                assert self.made[name][-1] in one.stop_ids
            assert not set(self.made[name][:-1]) & one.stop_ids

    def right(self, one: Request) -> list[int]:
        """Compute by hand as many tokens as a request has got."""
        assert one.seed is not None
        return by_hand(
            one.prompt_ids.tolist(),
            num_tokens=len(self.made[one.request_id]),
            vocab_size=self.scheduler.limits.vocab_size,
            temperature=one.params.temperature,
            seed=one.seed,
        )
