"""Full blocks get their names when their tokens are known and their launch was made."""

from __future__ import annotations

from itertools import takewhile

import numpy as np
import pytest

from octavo.kv.names import Names
from octavo.kv.pool import BlockId, Pool
from octavo.kv.prefix import Chain
from octavo.kv.seats import Seats
from octavo.kv.tables import Tables
from octavo.request import NO_KEYS, RequestId

SIZE = 4
CONTEXT = np.arange(10, 30, dtype=np.int32)
ONE = RequestId("one")


class Desk:
    """A seat with five blocks of a context that becomes known and computed step by step."""

    def __init__(self, *, is_on: bool = True, known: int = 2) -> None:
        self.pool = Pool(12)
        self.seats = Seats(max_requests=2, max_context_tokens=20)
        self.tables = Tables(num_seats=3, max_context_tokens=20, block_size=SIZE)
        groups = [(self.pool, self.tables)]
        self.names = Names(groups=groups, seats=self.seats, block_size=SIZE, is_on=is_on)
        self.names.add(ONE, NO_KEYS)
        seat = self.seats.take(CONTEXT[:known], computed=0, end=20, stop_ids=(), words=(0, 0, 0))
        assert seat == 1
        self.seats.contexts[1, : len(CONTEXT)] = CONTEXT
        self.blocks = self.pool.take(5) or []
        self.tables.append(1, self.blocks)
        self.names.sit(1, ONE, num_named=0)

    def named(self, known: int, computed: int) -> list[BlockId]:
        """Give the blocks that are found by name once so much is known and computed."""
        self.seats.known[1], self.seats.computed[1] = known, computed
        self.names.name_all()
        return self.found()

    def found(self) -> list[BlockId]:
        chain = Chain()
        names = (chain.name(index, CONTEXT, SIZE) for index in range(len(CONTEXT) // SIZE))
        found = [self.pool.find(name) for name in names]
        return [block for block in takewhile(lambda each: each is not None, found) if block]


def test_a_block_is_named_once_it_is_known_and_computed() -> None:
    desk = Desk()
    assert desk.named(known=3, computed=8) == []
    assert desk.named(known=9, computed=3) == []
    assert desk.named(known=4, computed=4) == desk.blocks[:1]
    assert desk.named(known=13, computed=12) == desk.blocks[:3]
    assert desk.pool.faults() == []


@pytest.mark.parametrize("computed", [3, 4, 7, 19])
def test_one_seat_is_named_before_it_is_left(computed: int) -> None:
    desk = Desk(known=20)
    desk.seats.computed[1] = computed
    desk.names.name(1)
    assert desk.found() == desk.blocks[: computed // SIZE]


def test_names_are_those_of_the_chain_whoever_asks_first() -> None:
    desk, chain = Desk(), Chain()
    desk.names.chain(ONE).name(3, CONTEXT, SIZE)
    desk.named(known=20, computed=20)
    names = [chain.name(index, CONTEXT, SIZE) for index in range(5)]
    assert [desk.pool.find(name) for name in names] == desk.blocks


def test_what_was_shared_is_not_named_again() -> None:
    desk = Desk()
    assert desk.named(known=8, computed=8) == desk.blocks[:2]
    desk.pool.forget()
    desk.names.sit(1, ONE, num_named=2)
    assert desk.named(known=12, computed=12) == []
    chain = Chain()
    names = [chain.name(index, CONTEXT, SIZE) for index in range(3)]
    assert [desk.pool.find(name) for name in names] == [None, None, desk.blocks[2]]


def test_contexts_that_fill_their_blocks_together_are_named_before_the_next_are_full() -> None:
    num_seats, longest = 300, 6 * SIZE
    pool = Pool(num_seats * 6 + 1)
    seats = Seats(max_requests=num_seats, max_context_tokens=longest)
    tables = Tables(num_seats=num_seats + 1, max_context_tokens=longest, block_size=SIZE)
    names = Names(groups=[(pool, tables)], seats=seats, block_size=SIZE, is_on=True)
    request_ids = [RequestId(f"{number}") for number in range(num_seats)]
    for number, request_id in enumerate(request_ids):
        first = np.array([number], np.int32)
        names.add(request_id, NO_KEYS)
        seat = seats.take(first, computed=0, end=longest, stop_ids=(), words=(0, 0, 0))
        assert seat is not None
        tables.append(seat, pool.take(6) or [])
        names.sit(seat, request_id, num_named=0)
    counts = [0]
    everybody = np.arange(1, num_seats + 1)
    for length in range(2, longest):
        seats.append(everybody, np.full(num_seats, length, np.int32))
        seats.computed[1:] = length
        names.name_all()
        counts.append(sum(len(names.chain(request_id).names) for request_id in request_ids))
        assert counts[-1] >= num_seats * ((length - SIZE + 1) // SIZE)
    assert np.diff(counts).max() < num_seats
    assert pool.faults() == []


def test_without_prefix_caching_nothing_is_named_and_nothing_found() -> None:
    desk = Desk(is_on=False)
    assert desk.named(known=20, computed=20) == []
    desk.names.name(1)
    chain = Chain()
    assert desk.pool.find(chain.name(0, CONTEXT, SIZE)) is None
