"""Holdings: what all state groups of a program hold of a context, taken and given back together.

    kv       [ 4 | 9 | 2 | 7 | 1 ]     every block, for layers that see all of a context
    window   [ 0 | 0 | 0 | 3 | 8 ]     the last blocks, for layers that see so many tokens back
    rings, snapshots                   one state, overwritten as it goes (`snapshots`)

Each group has its own pool and its own tables. A block that no window will reach again is given
back while its request runs, and its entry is null from then on. A block has the same name in
every group, but a prefix is a hit only where each group still has what is needed behind it.

Where all states are overwritten as they go, no group holds blocks. A block is then a run of tokens
that has a name and takes no room: a hit needs a state that was kept behind one and nothing else.

    remembered in kv       |####|####|####|####|####|
    remembered in window             |####|####|         sees two blocks back
    hit                    |--------------------|

Knows nothing of who is given what, nor when.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from octavo.errors import OperatorError
from octavo.kv.names import Names
from octavo.kv.pool import BlockId, BlockName, Pool
from octavo.kv.prefix import Chain
from octavo.kv.runs import Places
from octavo.kv.seats import Seats
from octavo.kv.snapshots import Snapshots
from octavo.kv.tables import Tables
from octavo.kv.trail import Trail
from octavo.request import CacheKeys, RequestId
from octavo.step import NO_COPIES, Copies
from octavo_platforms.inputs import Ints

Count = TypeVar("Count", int, Ints)


@dataclass(frozen=True, slots=True)
class Group:
    """A state group that holds blocks.

    Units: `num_blocks` counts the null block; `window` is how many tokens its layers see, the
        token itself among them, None for all.
    """

    name: str
    num_blocks: int
    window: int | None = None

    def num_needed(self, *, context_tokens: int, step_tokens: int, block_size: int) -> int:
        """Count the blocks that a request of this length holds at most, the null block left out.

        Units: `step_tokens` are those that it computes at most in one step.
        """
        longest = -(-context_tokens // block_size)
        if self.window is None:
            return longest
        seen = self.window - 1 + min(step_tokens, context_tokens)
        return min(longest, -(-seen // block_size) + 1)


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of one group."""

    group: Group
    pool: Pool
    tables: Tables

    def num_gone(self, computed: Count) -> Count:
        """Count the first blocks that nobody sees who goes on from here."""
        if self.group.window is None:
            return computed * 0
        unseen = computed - (self.group.window - 1)
        return unseen * (unseen > 0) // self.tables.block_size


@dataclass(frozen=True, slots=True)
class Hit:
    """A prefix that every group can give.

    `blocks` are by group, those that are still seen; `num_shared` is how far blocks alone reach,
    which is further where no state was kept; `row` is the snapshot of the state behind it.
    """

    num_tokens: int
    blocks: Sequence[Sequence[BlockId]]
    num_shared: int = 0
    row: BlockId | None = None


class Holdings:
    """All groups of a program, and who holds what in them.

    `groups` is empty where no state stands in blocks. While it is not `is_shared`, nothing is named
    and nothing found.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        seats: Seats,
        block_size: int,
        is_shared: bool,
        num_snapshots: int = 0,
    ) -> None:
        num_seats, longest = seats.contexts.shape
        self.groups = tuple(
            Blocks(
                group,
                Pool(group.num_blocks),
                Tables(num_seats=num_seats, max_context_tokens=longest, block_size=block_size),
            )
            for group in groups
        )
        self.snapshots: Snapshots | None = None
        if num_snapshots and is_shared:
            self.snapshots = Snapshots(num_snapshots, num_seats=num_seats, block_size=block_size)
        self.num_query_tokens = 0
        self.num_hit_tokens = 0
        self._size = block_size
        self._seats = seats
        self._is_shared = is_shared and bool(self.groups or self.snapshots)
        self._trail = None if self.groups else Trail()
        self._windowed = tuple(each for each in self.groups if each.group.window is not None)
        self._names = Names(
            groups=[(each.pool, each.tables) for each in self.groups],
            seats=seats,
            snapshots=self.snapshots,
            trail=self._trail,
            block_size=block_size,
            is_on=self._is_shared,
        )

    @property
    def main(self) -> Blocks:
        """Give the first group of a program that has one."""
        return self.groups[0]

    @property
    def pools(self) -> Sequence[Pool]:
        """Give the pools of all groups, and that of snapshots."""
        own = [each.pool for each in self.groups]
        return own if self.snapshots is None else [*own, self.snapshots.pool]

    @property
    def num_available(self) -> Sequence[int]:
        """Give how many blocks can be taken, by group."""
        return [each.pool.num_available for each in self.groups]

    def add(self, request_id: RequestId, keys: CacheKeys) -> None:
        """Begin the names of a request's context, or begin them anew."""
        self._names.add(request_id, keys)

    def drop(self, request_id: RequestId) -> None:
        """Forget the names of a request's context."""
        self._names.drop(request_id)

    def find(self, request_id: RequestId, context: Ints) -> Hit:
        """Find the longest beginning of a context that every group can give, but its last token."""
        if not self._is_shared:
            return self.nothing()
        chain, size, snapshots = self._names.chain(request_id), self._size, self.snapshots
        best = shared = 0
        for end, name in self._whole(chain, context):
            shared = end
            if snapshots is None or snapshots.pool.find(name) is not None:
                best = end
        names = chain.names[:best]
        return Hit(
            num_tokens=best * size,
            blocks=[each.pool.found(names[each.num_gone(best * size) :]) for each in self.groups],
            num_shared=shared * size,
            row=None if snapshots is None or not best else snapshots.pool.find(names[-1]),
        )

    def _whole(self, chain: Chain, context: Ints) -> Iterator[tuple[int, BlockName]]:
        """Walk the beginnings of a context that blocks can give, or where none are, that are known.

        Units: blocks; each with the name of its last.
        """
        size = self._size
        wholes = [each.pool for each in self.groups if each.group.window is None]
        runs = [0] * len(self._windowed)
        for end, name in enumerate(chain.walk(context[:-1], size), 1):
            for pool in wholes:
                if pool.find(name) is None:
                    return
            is_whole = self._trail is None or self._is_known(name, self._trail)
            for place, each in enumerate(self._windowed):
                runs[place] = 0 if each.pool.find(name) is None else runs[place] + 1
                is_whole &= runs[place] >= end - each.num_gone(end * size)
            if is_whole:
                yield end, name

    def _is_known(self, name: BlockName, trail: Trail) -> bool:
        assert self.snapshots is not None, "nothing is shared without blocks or states"
        return name in trail or self.snapshots.pool.find(name) is not None

    def nothing(self) -> Hit:
        """Give the hit that is none."""
        return Hit(0, [()] * len(self.groups))

    def take(
        self, hit: Hit, *, known: int, reach: int, spare: int = 0
    ) -> Sequence[Sequence[BlockId]] | None:
        """Hold a hit's blocks and, behind them, fresh ones; None, and no change, without room.

        Units: there is room for `known` tokens where everything is seen, and in windows for those
            up to `reach`, which the next step computes. `spare` blocks of the first group stay.
        """
        given: list[list[BlockId]] = []
        for each, found in zip(self.groups, hit.blocks, strict=True):
            each.pool.share(found)
            given.append(list(found))
            wanted = known if each.group.window is None else reach
            num_fresh = -(-wanted // self._size) - hit.num_tokens // self._size
            fits = each is not self.main or each.pool.num_available >= num_fresh + spare
            fresh = each.pool.take(num_fresh) if fits else None
            if fresh is None:
                for back, blocks in zip(self.groups, given, strict=False):
                    back.pool.release(reversed(blocks))
                return None
            given[-1] += fresh
        return given

    def sit(
        self, seat: int, request_id: RequestId, hit: Hit, given: Sequence[Sequence[BlockId]]
    ) -> None:
        """Write what was taken into the tables of the seat that it is for."""
        for each, blocks in zip(self.groups, given, strict=True):
            if gone := each.num_gone(hit.num_tokens):
                each.tables.skip(seat, gone)
            each.tables.append(seat, blocks)
        self._names.sit(seat, request_id, num_named=hit.num_tokens // self._size)
        if self.snapshots is not None:
            self.snapshots.sit(
                seat,
                row=hit.row,
                computed=hit.num_tokens,
                shared=hit.num_shared,
                known=int(self._seats.known[seat]),
            )

    def count(self, hit: Hit, *, num_asked: int) -> None:
        """Count a look-up that led to a seat. Units: tokens."""
        if self._is_shared:
            self.num_query_tokens += num_asked
            self.num_hit_tokens += hit.num_tokens

    def trim(self, at: Places) -> None:
        """Give back the blocks of running seats that no window will reach again."""
        for each in self._windowed:
            gone = each.num_gone(self._seats.computed.take(at))
            for place in np.flatnonzero(gone > each.tables.first.take(at)).tolist():
                each.pool.release(each.tables.drop(int(at[place]), int(gone[place])))

    def grow(self, at: Places, given: Ints) -> bool:
        """Make room for what seats compute next; False where blocks are short.

        Who was given blocks before another group had none left keeps them.

        Shapes: both [R], those who compute and how many tokens.
        """
        expected = self._seats.expected.take(at)
        for each in self.groups:
            wanted = expected
            if each.group.window is not None:
                wanted = self._seats.computed.take(at) + given
            room = each.tables.num_tokens.take(at)
            short = (wanted > room).nonzero()[0]
            short = short[given[short] > 0]
            if not short.size:
                continue
            counts = -(-(wanted[short] - room[short]) // self._size)
            blocks = each.pool.take(int(counts.sum()))
            if blocks is None:
                return False
            if len(blocks) == len(short):
                each.tables.grow(at[short], blocks)
            else:
                each.tables.extend(at[short], counts, np.array(blocks, np.int32))
        return True

    def cut(self, at: Places, given: Ints) -> Ints:
        """Let no chunk pass a place where a state is to be kept. Shapes: both [R]."""
        if self.snapshots is None:
            return given
        return self.snapshots.cut(at, self._seats.computed.take(at), given)

    def copies(self, at: Places, reached: Ints) -> tuple[Copies, Copies]:
        """Say which states a step needs brought back, and which to keep behind it.

        Shapes: both [R], of those who compute and how far.
        """
        if self.snapshots is None:
            return NO_COPIES, NO_COPIES
        return self.snapshots.restored(), self.snapshots.take(at, reached)

    def name_all(self) -> None:
        """Name whatever can be named by now."""
        self._names.name_all()

    def leave(self, seat: int, *, is_sound: bool = True) -> None:
        """Give all back that a seat holds; of what is then remembered, the last goes first.

        What is not sound is not remembered, nor anything else with the names of its context.
        """
        self._names.name(seat)
        if not is_sound:
            self._names.distrust(seat)
        for each in self.groups:
            each.pool.release(reversed(each.tables.clear(seat)))
        if self.snapshots is not None:
            self.snapshots.leave(seat)

    def forget(self) -> None:
        """Take all names away: what is held is not trusted any more."""
        for pool in self.pools:
            pool.forget()
        if self._trail is not None:
            self._trail.forget()

    def retire(self) -> None:
        """Let nobody who is added from now on find what was computed up to now."""
        self.forget()
        self._names.retire()

    def check(self, *, context_tokens: int, step_tokens: int) -> None:
        """Hold the groups against the longest request.

        Raises: OperatorError, where one request alone would not fit.
        """
        for each in self._windowed:
            needed = each.group.num_needed(
                context_tokens=context_tokens, step_tokens=step_tokens, block_size=self._size
            )
            if each.pool.num_usable < needed:
                raise OperatorError(
                    f"The state '{each.group.name}' has {each.pool.num_usable} blocks of "
                    f"{self._size} tokens, but a request needs {needed} of them to compute "
                    f"{step_tokens} tokens in a step behind a window of {each.group.window}. Give "
                    "the cache more memory, or a smaller --max-num-batched-tokens."
                )
