"""The ledger: every row of a step is its client's, under the client's own number, or nobody's."""

from __future__ import annotations

import random
from collections.abc import Sequence

from octavo.process.desk import Client
from octavo.process.ledger import Asked, Ledger
from octavo.request import Request, RequestId
from octavo.sampling import SamplingParams


def asked(client: Client, number: int) -> Asked:
    request = Request(f"{client.index}-{number}", [1], SamplingParams())
    return Asked(client, number, request)


def rows_of(ledger: Ledger, ids: Sequence[RequestId]) -> dict[int, tuple[int, int]]:
    """Give the client's index and the number of each row that is somebody's."""
    shares, _ = ledger.shares_of(ids)
    told = [
        (row, (share.client.index, number))
        for share in shares
        for row, number in zip(share.rows.tolist(), share.numbers.tolist(), strict=True)
    ]
    assert len(dict(told)) == len(told), "a row is one client's"
    return dict(told)


def test_each_row_is_its_clients_under_its_own_number_and_of_who_ended_nobodys() -> None:
    chance = random.Random(1)
    ledger, clients = Ledger(), [Client(b"", index) for index in range(4)]
    for number in range(300):
        one = asked(chance.choice(clients), (1 << 39) + number)
        ledger.add(one)
        here = ledger.all()
        if len(here) > 12:
            gone = chance.choice(here)
            assert ledger.strike(gone.request.request_id) is gone
            assert ledger.strike(gone.request.request_id) is None
        step = chance.sample(here, chance.randint(0, len(here)))
        left = {each.request.request_id for each in ledger.all()}
        expected = {
            row: (each.client.index, each.number)
            for row, each in enumerate(step)
            if each.request.request_id in left
        }
        assert rows_of(ledger, [each.request.request_id for each in step]) == expected


def test_who_begins_is_told_once_and_a_step_of_the_same_ids_is_not_walked_again() -> None:
    ledger, client = Ledger(), Client(b"", 0)
    first, second = asked(client, 1), asked(client, 2)
    ledger.add(first)
    ledger.add(second)
    ids = [first.request.request_id]
    shares, began = ledger.shares_of(ids)
    assert began == {client: [first]}
    again, nobody = ledger.shares_of(ids)
    assert again is shares
    assert nobody == {}
    _, later = ledger.shares_of([*ids, second.request.request_id])
    assert later == {client: [second]}
