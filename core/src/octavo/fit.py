"""The fit: how a cache's memory becomes blocks of each state group, and what these have room for.

    blocks     |#############################|      layers that see everything
    windows    |##########|                         as many, or enough for all requests at once
    snapshots  |###|                                an eighth at most

A group with a window has as many blocks as the one that sees everything, or fewer where these are
enough for all requests at once: so it is never the first to run out. Where nothing stands in
blocks, all of it is for snapshots.

Knows nothing of settings, nor how a number is explained.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SNAPSHOTS_EACH = 4
SNAPSHOT_SHARE = 8


@dataclass(frozen=True, slots=True)
class Window:
    """Layers that see so many tokens back; `numbers` of one position over all of them."""

    name: str
    tokens: int
    numbers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is to run at once. Units: tokens of a context, tokens of a step."""

    num_requests: int
    context_tokens: int
    step_tokens: int


@dataclass(frozen=True, slots=True)
class Shares:
    """What a cache was made into. Units: blocks, the null ones left out; rows of snapshots.

    `num_blocks` is None where nothing stands in blocks, so that there is no end to them.
    """

    num_blocks: int | None
    windows: Mapping[str, int]
    num_snapshots: int
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What things cost in bytes: a block of each group, and a snapshot; 0 is no such thing."""

    block_size: int
    block_bytes: int
    windows: Sequence[tuple[Window, int]] = ()
    snapshot_bytes: int = 0

    @property
    def has_blocks(self) -> bool:
        """Tell whether anything stands in blocks."""
        return bool(self.block_bytes or self.windows)

    def wanted(self, demand: Demand) -> int:
        """Give the bytes that let every request have its whole context."""
        snapshots = SNAPSHOTS_EACH * demand.num_requests * self.snapshot_bytes
        return self._bytes(self._most(demand), demand) + snapshots

    def least(self, demand: Demand, *, num_tokens: int) -> int:
        """Give the bytes for one request of so many tokens."""
        found = self._bytes(self._blocks(num_tokens), demand)
        if not self.snapshot_bytes:
            return found
        return -(-found * SNAPSHOT_SHARE // (SNAPSHOT_SHARE - 1))

    def split(self, num_bytes: int, demand: Demand) -> Shares:
        """Share a cache out among the groups; no more of it than requests could hold."""
        rows = 0
        if self.snapshot_bytes:
            share = num_bytes // SNAPSHOT_SHARE if self.has_blocks else num_bytes
            affordable = share // self.snapshot_bytes
            rows = min(SNAPSHOTS_EACH * demand.num_requests, affordable)
        left, most = num_bytes - rows * self.snapshot_bytes, self._most(demand)
        count = bisect_right(range(1, most + 1), left, key=lambda n: self._bytes(n, demand))
        windows = {
            window.name: min(count, self._enough(window, demand)) for window, _ in self.windows
        }
        return Shares(
            num_blocks=(count if self.block_bytes else most) if self.has_blocks else None,
            windows=windows,
            num_snapshots=rows,
            num_bytes=self._bytes(count, demand) + rows * self.snapshot_bytes,
        )

    def has_room(self, shares: Shares, demand: Demand) -> bool:
        """Tell whether one request fits into every group, with its part of a step."""
        if shares.num_blocks is None:
            return True
        step_tokens = min(demand.step_tokens, demand.context_tokens)
        longest = self._blocks(demand.context_tokens)
        return shares.num_blocks >= longest and all(
            shares.windows[each.name]
            >= min(longest, self._blocks(each.tokens - 1 + step_tokens) + 1)
            for each, _ in self.windows
        )

    def num_at_once(self, shares: Shares, demand: Demand) -> int:
        """Count the requests of a length that there is room for at once, up to those wanted."""
        found = [demand.num_requests]
        if self.block_bytes and shares.num_blocks is not None:
            found.append(shares.num_blocks // self._blocks(demand.context_tokens))
        for window, _ in self.windows:
            if shares.windows[window.name] < self._enough(window, demand):
                spare = shares.windows[window.name] - self._blocks(demand.step_tokens)
                found.append(max(1, spare // self._each(window, demand)))
        return min(found)

    def _most(self, demand: Demand) -> int:
        return demand.num_requests * self._blocks(demand.context_tokens)

    def _enough(self, window: Window, demand: Demand) -> int:
        """Give the blocks that suffice for all: what each one's window reaches, and a step."""
        held = demand.num_requests * self._each(window, demand) + self._blocks(demand.step_tokens)
        return min(self._most(demand), held)

    def _each(self, window: Window, demand: Demand) -> int:
        return min(self._blocks(window.tokens - 1) + 2, self._blocks(demand.context_tokens))

    def _bytes(self, count: int, demand: Demand) -> int:
        """Give what so many blocks of the whole cost, with those of windows beside them."""
        beside = (min(count, self._enough(each, demand)) * cost for each, cost in self.windows)
        return count * self.block_bytes + sum(beside)

    def _blocks(self, num_tokens: int) -> int:
        return -(-num_tokens // self.block_size)
