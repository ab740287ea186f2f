"""Holdings: who gets blocks as contexts grow, by hand."""

from __future__ import annotations

import numpy as np

from octavo.kv.groups import Group, Holdings
from octavo.kv.seats import Seats
from octavo.request import NO_KEYS, RequestId

SIZE = 4


class Desk:
    """Three seats with a block each, which is full."""

    def __init__(self, *, num_blocks: int) -> None:
        self.seats = Seats(max_requests=3, max_context_tokens=32)
        self.holdings = Holdings(
            [Group("kv", num_blocks)], seats=self.seats, block_size=SIZE, is_shared=True
        )
        for number in range(3):
            context, name = np.arange(SIZE, dtype=np.int32) + number, RequestId(f"{number}")
            self.holdings.add(name, NO_KEYS)
            hit = self.holdings.find(name, context)
            given = self.holdings.take(hit, known=SIZE, reach=SIZE)
            seat = self.seats.take(context, computed=0, end=32, stop_ids=(), words=(0, 0, 0))
            assert given is not None
            assert seat is not None
            self.holdings.sit(seat, name, hit, given)

    def rooms(self) -> list[int]:
        found: list[int] = self.holdings.main.tables.num_tokens[1:].tolist()
        return found


def ints(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(values, np.int32)


def test_who_is_short_of_room_and_computes_gets_a_block_and_nobody_else_does() -> None:
    desk = Desk(num_blocks=9)
    desk.seats.expected[1:] = [SIZE + 1, SIZE, SIZE + 1]
    assert desk.holdings.grow(np.array([1, 2, 3]), ints(1, 1, 0))
    assert desk.rooms() == [2 * SIZE, SIZE, SIZE]


def test_nobody_grows_where_blocks_do_not_suffice_for_all() -> None:
    desk = Desk(num_blocks=6)
    desk.seats.expected[1:] = SIZE + 1
    assert not desk.holdings.grow(np.array([1, 2, 3]), ints(1, 1, 1))
    assert desk.rooms() == [SIZE] * 3
    assert desk.holdings.grow(np.array([1, 2]), ints(1, 1))
    assert desk.rooms() == [2 * SIZE, 2 * SIZE, SIZE]


def test_a_context_of_one_token_is_looked_up_and_has_no_prefix() -> None:
    desk = Desk(num_blocks=9)
    desk.holdings.add(RequestId("one"), NO_KEYS)
    assert desk.holdings.find(RequestId("one"), ints(5)).num_tokens == 0
