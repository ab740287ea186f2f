"""The ledger: which request is whose, and whose rows a step's arrays have.

    step      rows     0-7   1-3   0-9   1-4        a client's index, and its own number
    shares    client 0: rows 0 and 2, its 7 and 9   client 1: rows 1 and 3, its 3 and 4

A step with the very ids of the one before has the same shares, and costs no walk.

Knows nothing of how a request runs, nor of what its client is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import numpy.typing as npt

from octavo.process.desk import Client
from octavo.request import Request, RequestId

_NUMBER_BITS = 40
_NOBODYS = -1


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that has not ended, and whose it is under which number."""

    client: Client
    number: int
    request: Request

    @property
    def mark(self) -> int:
        """Give the client and the number as one integer, so that rows can be told by arrays."""
        return self.client.index << _NUMBER_BITS | self.number


@dataclass(frozen=True, slots=True)
class Share:
    """One client's rows of a step, under its own numbers. Shapes: rows and numbers [N]."""

    client: Client
    rows: npt.NDArray[np.intp]
    numbers: npt.NDArray[np.int64]


class Ledger:
    """All requests that have not ended, of all clients."""

    def __init__(self) -> None:
        self._asked: dict[RequestId, Asked] = {}
        self._mark_of: dict[RequestId, int] = {}
        self._unbegun: set[RequestId] = set()
        self._shares: Sequence[Share] = ()
        self._shared_ids: Sequence[RequestId] = ()

    def add(self, asked: Asked) -> None:
        """Enter a request."""
        request_id = asked.request.request_id
        self._asked[request_id] = asked
        self._mark_of[request_id] = asked.mark
        self._unbegun.add(request_id)

    def strike(self, request_id: RequestId) -> Asked | None:
        """Let go of a request that ends; None if it had ended."""
        self._mark_of.pop(request_id, None)
        self._unbegun.discard(request_id)
        return self._asked.pop(request_id, None)

    def find(self, request_id: RequestId) -> Asked | None:
        """Give a request; None if it has ended."""
        return self._asked.get(request_id)

    def all(self) -> Sequence[Asked]:
        """Give all of them, as they are now."""
        return list(self._asked.values())

    def shares_of(
        self, request_ids: Sequence[RequestId]
    ) -> tuple[Sequence[Share], Mapping[Client, Sequence[Asked]]]:
        """Find out whose rows a step's arrays have, and who gets its first token by it."""
        if request_ids is self._shared_ids:
            return self._shares, {}
        of_nobody, count = repeat(_NOBODYS), len(request_ids)
        marks = np.fromiter(map(self._mark_of.get, request_ids, of_nobody), np.int64, count)
        owners = marks >> _NUMBER_BITS
        shares = []
        for owner in np.unique(owners[marks != _NOBODYS]).tolist():
            rows = (owners == owner).nonzero()[0]
            client = self._asked[request_ids[int(rows[0])]].client
            shares.append(Share(client, rows, marks[rows] - (owner << _NUMBER_BITS)))
        self._shares, self._shared_ids = shares, request_ids
        began: dict[Client, list[Asked]] = {}
        for request_id in self._unbegun.intersection(request_ids) if self._unbegun else ():
            asked = self._asked[request_id]
            self._unbegun.remove(request_id)
            began.setdefault(asked.client, []).append(asked)
        return shares, began


def no_rows(client: Client) -> Share:
    """Give the share of a client that has no row in a step."""
    return Share(client, np.zeros(0, np.intp), np.zeros(0, np.int64))
