"""Seats are given lowest first, and a ticket tells one occupant from the next."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass

import numpy as np
import pytest

from octavo.kv.seats import Seats
from octavo.sampling.needs import HOSTED, LATE
from octavo_platforms.inputs import NO_TOKEN

# A nightly run walks further: OCTAVO_WALK_MOVES=200000
NUM_MOVES = int(os.environ.get("OCTAVO_WALK_MOVES", "2000"))


def take(seats: Seats, *, stop_ids: tuple[int, ...] = ()) -> int | None:
    context = np.array([4, 5, 6], np.int32)
    return seats.take(context, computed=1, end=7, stop_ids=stop_ids, words=(1, 2, 3))


def test_the_lowest_free_seat_is_given_and_the_null_seat_never() -> None:
    seats = Seats(max_requests=3, max_context_tokens=8)
    assert [take(seats) for _ in range(4)] == [1, 2, 3, None]
    seats.release(3)
    seats.release(2)
    assert (seats.num_free, seats.num_taken) == (2, 1)
    assert [take(seats) for _ in range(3)] == [2, 3, None]


def test_a_ticket_never_returns() -> None:
    seats = Seats(max_requests=1, max_context_tokens=8)
    tickets = []
    for _ in range(3):
        assert take(seats) == 1
        tickets.append(int(seats.tickets[1]))
        seats.release(1)
    assert len({*tickets, 0}) == 4
    assert seats.tickets[1] == 0


def test_a_row_holds_what_it_was_taken_with_and_nothing_of_the_one_before() -> None:
    seats = Seats(max_requests=1, max_context_tokens=8)
    take(seats, stop_ids=(8, 9))
    seats.release(1)
    take(seats, stop_ids=(7,))
    assert seats.context(1).tolist() == [4, 5, 6]
    assert (seats.known[1], seats.computed[1], seats.end[1]) == (3, 1, 7)
    assert seats.words[1].tolist() == [1, 2, 3]
    assert {*seats.stops[1].tolist()} == {7, NO_TOKEN}


def test_a_long_list_of_stop_tokens_leaves_the_other_rows_as_they_were() -> None:
    seats = Seats(max_requests=2, max_context_tokens=8)
    take(seats, stop_ids=(3,))
    take(seats, stop_ids=tuple(range(40)))
    assert {*seats.stops[1].tolist()} == {3, NO_TOKEN}
    assert seats.stops[2].tolist() == list(range(40))


def test_a_free_seat_cannot_be_released() -> None:
    with pytest.raises(AssertionError):
        Seats(max_requests=1, max_context_tokens=8).release(1)


def test_a_token_ends_the_output_of_the_seat_that_has_it_as_a_stop_token_only() -> None:
    seats = Seats(max_requests=3, max_context_tokens=8)
    for stop_ids in ((), (5,), (5, 6, 7)):
        take(seats, stop_ids=stop_ids)
    found = seats.are_stops(np.array([1, 2, 3, 2, 3, 1]), np.array([5, 5, 5, 7, 7, 0], np.int32))
    assert found.tolist() == [False, True, True, False, True, False]


@dataclass
class Sitter:
    """What one seat has to hold, kept in the simplest way."""

    ticket: int
    context: list[int]
    stops: set[int]
    needs: int


class Model:
    """Seats beside a model of them that is too simple to be wrong."""

    def __init__(self, chance: random.Random) -> None:
        self.seats = Seats(max_requests=5, max_context_tokens=20)
        self.sitters: dict[int, Sitter] = {}
        self.tickets: set[int] = set()
        self._chance = chance

    def take(self) -> None:
        """Seat somebody on the lowest seat that is free, if one is."""
        chance = self._chance
        context = [chance.randrange(50) for _ in range(chance.randint(1, 12))]
        stops = {chance.randrange(50) for _ in range(chance.choice([0, 1, 6]))}
        needs = chance.choice([0, 0, HOSTED, LATE])
        free = sorted({1, 2, 3, 4, 5} - self.sitters.keys())
        seat = self.seats.take(
            np.array(context, np.int32), computed=len(context) // 2, end=20, stop_ids=stops,
            words=(len(context), 2, 3), needs=needs,
        )  # fmt: skip
        assert seat == (free[0] if free else None)
        if seat is not None:
            ticket = int(self.seats.tickets[seat])
            assert ticket not in self.tickets
            self.tickets.add(ticket)
            self.sitters[seat] = Sitter(ticket, context, stops, needs)

    def release(self) -> None:
        """Let somebody go."""
        seat = self._chance.choice(sorted(self.sitters))
        del self.sitters[seat]
        self.seats.release(seat)

    def append(self) -> None:
        """Give some a token each, where their rows have room, and ask who is stopped by it."""
        at = [seat for seat, one in sorted(self.sitters.items()) if len(one.context) < 20]
        at = self._chance.sample(at, self._chance.randint(0, len(at)))
        tokens = [self._chance.randrange(50) for _ in at]
        places, given = np.array(at, np.intp), np.array(tokens, np.int32)
        known = self.seats.append(places, given)
        stopped = self.seats.are_stops(places, given).tolist()
        for seat, token, length, is_stopped in zip(at, tokens, known, stopped, strict=True):
            one = self.sitters[seat]
            one.context.append(token)
            assert length == len(one.context)
            assert is_stopped == (token in one.stops)

    def check(self) -> None:
        """Hold the seats against the model."""
        seats, taken = self.seats, self.sitters
        assert seats.num_taken == len(taken)
        assert seats.num_free == 5 - len(taken)
        assert np.flatnonzero(seats.tickets).tolist() == sorted(taken)
        assert seats.num_wanting == sum(bool(one.needs) for one in taken.values())
        assert seats.num_hosted == sum(one.needs == HOSTED for one in taken.values())
        for seat, one in taken.items():
            assert seats.tickets[seat] == one.ticket
            assert seats.context(seat).tolist() == one.context
            assert seats.last[seat] == one.context[-1]
            assert {*seats.stops[seat].tolist()} - {NO_TOKEN} == one.stops


@pytest.mark.parametrize("seed", range(2))
def test_after_any_walk_seats_hold_what_they_were_given_and_nothing_else(seed: int) -> None:
    chance = random.Random(seed)
    model = Model(chance)
    for _ in range(NUM_MOVES):
        move = chance.choice(["take", "release", "append", "append"])
        if move == "take":
            model.take()
        elif move == "append":
            model.append()
        elif model.sitters:
            model.release()
        model.check()
