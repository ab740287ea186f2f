"""Notes on random walks of a scheduler, whatever was preempted, aborted or shared in between.

What a replica launches is what the scheduler's own batch would, to the bit.
"""

from __future__ import annotations

import os
import random
from collections import deque
from dataclasses import fields, replace

import numpy as np
import pytest

from octavo.batch import Batch
from octavo.errors import InternalError
from octavo.heart import GROUP
from octavo.kv.seats import Seats
from octavo.kv.tables import Tables
from octavo.ranks.note import Scribe, StepNote
from octavo.ranks.replica import Replica
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.sampling.needs import CUT, SHAPED, Offers
from octavo.scheduler import Limits, Scheduler
from octavo.step import Step
from octavo.testing.null import NullProgram
from octavo.wire import Wire
from octavo_platforms.inputs import Pending, StepInputs, arrays_of

VOCAB_SIZE = 61
# A nightly run walks further: OCTAVO_WALK_MOVES=200000
NUM_MOVES = int(os.environ.get("OCTAVO_WALK_MOVES", "2000"))


def limits(*, context: int = 40, blocks: int = 15, requests: int = 4, tokens: int = 9) -> Limits:
    return Limits(
        max_context_tokens=context,
        num_blocks=blocks,
        block_size=4,
        max_requests=requests,
        max_step_tokens=tokens,
        vocab_size=VOCAB_SIZE,
    )


class Pair:
    """A scheduler with a batch and a program of its own, and a replica that hears its notes."""

    def __init__(self, allowed: Limits) -> None:
        self.scheduler = Scheduler(allowed, offers=Offers(cuts=True, shapes=True, tells=True))
        self.batch = self._batch(self.scheduler.seats, self.scheduler.holdings.main.tables)
        self.program = NullProgram(allowed)
        self.scribe = Scribe(self.scheduler.seats, self.scheduler.holdings.main.tables)
        self.wire: Wire[StepNote] = Wire((StepNote,))
        self.seats = Seats(
            max_requests=allowed.max_requests, max_context_tokens=allowed.num_context_tokens
        )
        self.tables = Tables(
            num_seats=allowed.max_requests + 1,
            max_context_tokens=allowed.num_context_tokens,
            block_size=allowed.block_size,
        )
        self.replica = Replica(self.seats, self.tables)
        self.replica_batch = self._batch(self.seats, self.tables)
        self.in_flight: deque[tuple[Step, Pending]] = deque()
        self.sent: list[StepNote] = []
        self.needed = 0

    def _batch(self, seats: Seats, tables: Tables) -> Batch:
        allowed = self.scheduler.limits
        return Batch(seats, {GROUP: tables}, max_step_tokens=allowed.max_step_tokens)

    def schedule(self) -> Step | None:
        """Make a step, launch it, and hold the replica's launch against it."""
        step = self.scheduler.schedule()
        if step is None:
            return None
        note = self.scribe.note(step)
        self.sent.append(note)
        arrived = self.wire.decode([bytes(frame) for frame in self.wire.encode(note)])
        copy = self.replica.step(arrived)
        right = self.batch.inputs(step, entry="step")
        found = self.replica_batch.inputs(copy, entry="step")
        assert_same(right, found)
        self._check_wants(step, copy)
        self.in_flight.append((step, self.program.launch(right)))
        return step

    def _check_wants(self, step: Step, copy: Step) -> None:
        """Hold what rows want beyond temperature and seed against each other."""
        ours, theirs = self.batch.wanted, self.replica_batch.wanted
        needs = ours.needs(step)
        assert theirs.needs(copy) == needs
        self.needed |= needs
        right = ours.cuts(step) | ours.shapes(step) if needs else {}
        found = theirs.cuts(copy) | theirs.shapes(copy) if needs else {}
        assert right.keys() == found.keys()
        for name, array in right.items():
            if name == "history":  # past its span it is not read
                spans = np.asarray(right["history_spans"], np.int32)[:, :1]
                counted = np.arange(array.shape[1]) < spans
                assert np.array_equal(array[counted], found[name][counted])
            else:
                assert np.array_equal(array, found[name]), name

    def commit(self) -> None:
        step, pending = self.in_flight.popleft()
        self.scheduler.commit(step, pending.read())

    def check(self) -> None:
        """Hold the replica's seats and tables against the scheduler's, of seats that are taken."""
        ours, theirs = self.scheduler.seats, self.seats
        taken = np.flatnonzero(ours.tickets)
        assert np.array_equal(ours.tickets, theirs.tickets)
        assert ours.num_taken == theirs.num_taken
        assert np.array_equal(ours.computed, theirs.computed)
        assert np.array_equal(ours.words[taken], theirs.words[taken])
        tables = self.scheduler.holdings.main.tables
        assert np.array_equal(tables.blocks, self.tables.blocks)
        assert np.array_equal(tables.num_tokens, self.tables.num_tokens)
        assert np.array_equal(tables.first, self.tables.first)


def assert_same(right: StepInputs, found: StepInputs) -> None:
    assert (right.entry, right.sequence, right.shape) == (found.entry, found.sequence, found.shape)
    ours, theirs = arrays_of(right), arrays_of(found)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        copy = theirs[name]
        assert isinstance(array, np.ndarray)
        assert isinstance(copy, np.ndarray)
        assert (array.dtype, array.shape) == (copy.dtype, copy.shape), name
        if name == "token_ids" and right.token_from is not None:
            kept = right.token_from != 0  # what stands there is not read
            array, copy = np.where(kept, 0, array), np.where(kept, 0, copy)
        assert array.tobytes() == copy.tobytes(), name
    missing = [each.name for each in fields(right) if getattr(right, each.name) is None]
    assert missing == [each.name for each in fields(found) if getattr(found, each.name) is None]


def random_request(name: str, chance: random.Random, longest: int) -> Request:
    stem = [chance.choice([7, 8])] * chance.randint(1, longest // 2)
    tail = [chance.randrange(VOCAB_SIZE) for _ in range(chance.randint(0, longest // 2 - 1))]
    params = SamplingParams(
        temperature=chance.choice([0.0, 0.9]),
        seed=chance.randrange(2**40),
        max_tokens=chance.choice([1, 4, 11, None]),
        stop_token_ids=[chance.randrange(VOCAB_SIZE) for _ in range(chance.randint(0, 5))],
        top_k=chance.choice([0, 0, 0, 5]),
        presence_penalty=chance.choice([0.0, 0.0, 0.0, 1.5]),
    )
    return Request(name, stem + tail, params)


def walk(pair: Pair, *, depth: int, num_moves: int, seed: int) -> None:
    chance, names = random.Random(seed), []
    longest = pair.scheduler.limits.num_context_tokens - 1
    for number in range(num_moves):
        move = chance.choice(["add", "schedule", "schedule", "commit", "commit", "abort"])
        if move == "add" and pair.scheduler.num_waiting < 6:
            one = random_request(f"r{number}", chance, longest)
            pair.scheduler.add(one)
            names.append(one.request_id)
        elif move == "schedule" and len(pair.in_flight) < depth:
            if pair.schedule() is not None:
                pair.check()
        elif move == "commit" and pair.in_flight:
            pair.commit()
        elif move == "abort" and names and chance.random() < 0.2:
            pair.scheduler.end(chance.choice(names), "abort")


@pytest.mark.parametrize("depth", [1, 2])
def test_after_any_walk_a_replica_launches_what_the_scheduler_launches(depth: int) -> None:
    pairs = [Pair(limits()) for _ in range(2)]
    for seed, pair in enumerate(pairs):
        walk(pair, depth=depth, num_moves=NUM_MOVES // len(pairs), seed=seed)
        assert pair.needed == CUT | SHAPED
        assert pair.scheduler.num_prefix_hit_tokens > 0
    assert sum(pair.scheduler.num_preemptions for pair in pairs) > 4


def test_a_replica_that_misses_a_note_says_so() -> None:
    pair = Pair(limits())
    pair.scheduler.add(Request("a", [3], SamplingParams()))
    pair.schedule()
    pair.commit()
    step = pair.scheduler.schedule()
    assert step is not None
    note = pair.scribe.note(step)
    with pytest.raises(InternalError, match="step 3 arrived after step 1"):
        pair.replica.step(replace(note, sequence=3))


def test_a_steady_step_is_noted_in_a_few_bytes_for_each_request() -> None:
    num_requests = 512
    pair = Pair(limits(context=400, blocks=60_000, requests=num_requests, tokens=num_requests))
    for number in range(num_requests):
        pair.scheduler.add(Request(f"r{number}", [number % VOCAB_SIZE], SamplingParams(seed=3)))
    sizes = []
    for _ in range(8):
        assert pair.schedule() is not None
        pair.commit()
        sizes.append(sum(memoryview(frame).nbytes for frame in pair.wire.encode(pair.sent[-1])))
    note = pair.sent[-1]
    assert (note.entered, note.seats, note.num_tokens, note.computed, note.rows) == (None,) * 5
    assert max(sizes[4:]) < 32 * num_requests
