"""Seats are given lowest first, and a ticket tells one occupant from the next."""

from __future__ import annotations

import numpy as np
import pytest

from octavo.kv.seats import Seats
from octavo_platforms.inputs import NO_TOKEN


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
