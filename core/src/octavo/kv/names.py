"""Naming full blocks, so that others with the same beginning find them.

A block can be named once all its tokens are known to the host and a launch that writes it was
made: launches run in order, so whoever finds the name reads what was written. Names are made
between a launch and the reading of its result, while the device works.

    known       |----------------------------|
    computed    |------------------------------|
    named       |-------|-------|-------|          the fourth block is not full

A name is given in every group of blocks that still has the block, and to the snapshot behind it.

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
from octavo.request import CacheKeys, RequestId
from octavo_platforms.inputs import NULL_BLOCK, Ints


class Names:
    """The chains of all requests that have not ended, and how far their seats' blocks are named.

    `groups` have one size of blocks. While it is not `is_on`, nothing is named.
    """

    def __init__(
        self,
        *,
        groups: Sequence[tuple[Pool, Tables]],
        seats: Seats,
        snapshots: Snapshots | None = None,
        is_on: bool,
    ) -> None:
        self._groups = groups
        self._seats = seats
        self._snapshots = snapshots
        self._is_on = is_on
        self._age = 0
        self._chains: dict[RequestId, Chain] = {}
        self._chain_of = [Chain()] * len(seats.known)
        self._named_tokens: Ints = np.zeros(len(seats.known), np.int32)
        self._size = groups[0][1].block_size
        self._places = np.arange(self._size)

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
        self._named_tokens[seat] = num_named * self._size

    def name_all(self) -> None:
        """Name whatever can be named by now. A steady step has few blocks that become full."""
        if self._is_on:
            unnamed = np.minimum(self._seats.known, self._seats.computed) - self._named_tokens
            seats = np.flatnonzero(unnamed >= self._size)
            if seats.size:
                self._name(seats)
        if self._snapshots is not None:
            for seat in self._snapshots.unnamed():
                self._name_snapshots(self._snapshots, seat)

    def name(self, seat: int) -> None:
        """Name whatever can be named of one seat, before its blocks are released."""
        if self._is_on:
            self._name(np.array([seat]))
        if self._snapshots is not None:
            self._name_snapshots(self._snapshots, seat)

    def _name(self, seats: Places) -> None:
        size, named = self._size, self._named_tokens[seats]
        first = named // size
        full = np.minimum(self._seats.known[seats], self._seats.computed[seats]) // size
        owners, index = runs(seats.astype(np.int32), first, full - first)
        positions = index[:, None] * size + self._places
        contexts = self._seats.contexts[owners[:, None], positions]
        chain_of = self._chain_of
        content, num_bytes = contexts.tobytes(), contexts.itemsize * size
        start = 0
        names = []
        for owner, place in zip(owners.tolist(), index.tolist(), strict=True):
            tokens = content[start : start + num_bytes]
            names.append(chain_of[owner].extended(place, tokens))
            start += num_bytes
        for pool, tables in self._groups:
            remember, blocks = pool.remember, tables.blocks[owners, index].tolist()
            for block, name in zip(blocks, names, strict=True):
                if block != NULL_BLOCK:
                    remember(BlockId(block), name)
        self._named_tokens[seats] = full * size

    def _name_snapshots(self, snapshots: Snapshots, seat: int) -> None:
        known = self._seats.contexts[seat, : self._seats.known[seat]]
        snapshots.name(seat, self._chain_of[seat], known)
