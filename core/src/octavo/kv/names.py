"""Naming full blocks, so that others with the same beginning find them.

A block can be named once all its tokens are known to the host and a launch that writes it was
made: launches run in order, so whoever finds the name reads what was written. Names are made
between a launch and the reading of its result, while the device works.

    known       |----------------------------|
    computed    |------------------------------|
    named       |-------|-------|-------|          the fourth block is not full

A name is given in every group of blocks that still has the block, and to the snapshot behind it.
Where there are no blocks, the trail keeps it.

Knows nothing of who computes what.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octavo.kv.pool import BlockId, Pool
from octavo.kv.prefix import Chain
from octavo.kv.runs import Places, runs
from octavo.kv.seats import Seats
from octavo.kv.snapshots import Snapshots
from octavo.kv.tables import Tables
from octavo.kv.trail import Trail
from octavo.request import CacheKeys, RequestId
from octavo_platforms.inputs import NULL_BLOCK, Ints

_MANY_SEATS = 64
"""Of how many seats blocks are named in a step at least, and always where there are no more."""


class Names:
    """The chains of all requests that have not ended, and how far their seats' blocks are named.

    `groups` have one size of blocks; `trail` stands where there are none. While it is not `is_on`,
    nothing is named.
    """

    def __init__(
        self,
        *,
        groups: Sequence[tuple[Pool, Tables]],
        seats: Seats,
        block_size: int,
        snapshots: Snapshots | None = None,
        trail: Trail | None = None,
        is_on: bool,
    ) -> None:
        self._groups = groups
        self._seats = seats
        self._snapshots = snapshots
        self._trail = trail
        self._is_on = is_on
        self._age = 0
        self._chains: dict[RequestId, Chain] = {}
        self._chain_of = [Chain()] * len(seats.known)
        self._named_blocks: Ints = np.zeros(len(seats.known), np.int32)
        self._size = block_size
        self._contents = seats.in_blocks(block_size)
        self._most_seats = max(_MANY_SEATS, -(-2 * len(seats.known) // block_size))

    def add(self, request_id: RequestId, keys: CacheKeys) -> None:
        """Begin a request's chain, or begin it anew."""
        self._chains[request_id] = Chain(keys, age=self._age)

    def retire(self) -> None:
        """Let no chain that begins from now on have a name in common with those of before."""
        self._age += 1

    def drop(self, request_id: RequestId) -> None:
        """Forget a request's chain."""
        del self._chains[request_id]

    def chain(self, request_id: RequestId) -> Chain:
        """Give a request's chain."""
        return self._chains[request_id]

    def sit(self, seat: int, request_id: RequestId, *, num_named: int) -> None:
        """Tell whose the blocks of a seat are now, and how many of them have names."""
        self._chain_of[seat] = self._chains[request_id]
        self._named_blocks[seat] = num_named

    def name_all(self) -> None:
        """Name what can be named by now; where that is much, the rest in the steps that follow.

        A steady step has few blocks that become full. Contexts of one length fill theirs together;
        as each has time until its next block is full, no step need bear all of them.
        """
        if self._is_on:
            full = np.minimum(self._seats.known, self._seats.computed) // self._size
            seats = (full > self._named_blocks).nonzero()[0]
            if seats.size:
                self._name(seats[: self._most_seats])
        if self._snapshots is not None:
            for seat in self._snapshots.unnamed():
                self._name_snapshots(self._snapshots, seat)

    def name(self, seat: int) -> None:
        """Name whatever can be named of one seat, before its blocks are released."""
        full = int(min(self._seats.known[seat], self._seats.computed[seat])) // self._size
        if self._is_on and full > self._named_blocks[seat]:
            self._name(np.array([seat]))
        if self._snapshots is not None:
            self._name_snapshots(self._snapshots, seat)

    def distrust(self, seat: int) -> None:
        """Take the names of a seat's context away, in every group: nobody finds it any more."""
        pools = [pool for pool, _ in self._groups]
        if self._snapshots is not None:
            pools.append(self._snapshots.pool)
        for name in self._chain_of[seat].names:
            for pool in pools:
                pool.unname(name)

    def _name(self, seats: Places) -> None:
        size, first = self._size, self._named_blocks.take(seats)
        full = np.minimum(self._seats.known.take(seats), self._seats.computed.take(seats)) // size
        owners, index = runs(seats, first, full - first)
        tokens, chain_of = self._contents[owners, index].tolist(), self._chain_of
        names = [
            chain_of[owner].extended(place, content)
            for owner, place, content in zip(owners.tolist(), index.tolist(), tokens, strict=True)
        ]
        for pool, tables in self._groups:
            remember = pool.remember
            blocks: list[BlockId] = tables.blocks[owners, index].tolist()
            for block, name in zip(blocks, names, strict=True):
                if block != NULL_BLOCK:
                    remember(block, name)
        if self._trail is not None:
            self._trail.add(names)
        self._named_blocks[seats] = full

    def _name_snapshots(self, snapshots: Snapshots, seat: int) -> None:
        known = self._seats.contexts[seat, : self._seats.known[seat]]
        snapshots.name(seat, self._chain_of[seat], known)
