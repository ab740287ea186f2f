"""The pool of blocks: each is free, held or remembered.

A held block counts its holders. A named block that nobody holds any more is remembered: it
can be shared again by its name, and it is given to another taker only when no free block is
left, the longest unused first. Every move costs the same, however large the pool.

Knows nothing of requests, tokens or devices.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NewType

from octavo_platforms.inputs import NULL_BLOCK

BlockId = NewType("BlockId", int)
BlockName = NewType("BlockName", bytes)


class Pool:
    """All blocks of a device's buffers but the null block.

    Units: `num_blocks` counts the null block, as the buffers do; `num_evicted` counts blocks
        that were forgotten because their room was needed.
    """

    def __init__(self, num_blocks: int) -> None:
        self.num_evicted = 0
        self._num_blocks = num_blocks
        self._free = [BlockId(block) for block in range(num_blocks - 1, NULL_BLOCK, -1)]
        self._remembered: OrderedDict[BlockId, None] = OrderedDict()
        self._holders = [0] * num_blocks
        self._name_of: list[BlockName | None] = [None] * num_blocks
        self._block_of: dict[BlockName, BlockId] = {}

    @property
    def num_usable(self) -> int:
        """Give the number of blocks that can be held at all."""
        return self._num_blocks - 1

    @property
    def num_free(self) -> int:
        """Give the number of blocks that nobody holds and that have no name."""
        return len(self._free)

    @property
    def num_remembered(self) -> int:
        """Give the number of blocks that nobody holds, but that have a name."""
        return len(self._remembered)

    @property
    def num_available(self) -> int:
        """Give the number of blocks that `take` can give."""
        return len(self._free) + len(self._remembered)

    @property
    def num_held(self) -> int:
        """Give the number of blocks that somebody holds."""
        return self.num_usable - self.num_available

    def take(self, num_blocks: int) -> list[BlockId] | None:
        """Hold blocks whose content is undefined; None when too few are left.

        Effects: none where it gives None; else remembered blocks may be forgotten, the longest
            unused first.
        """
        if num_blocks > self.num_available:
            return None
        kept = max(0, len(self._free) - num_blocks)
        taken = self._free[kept:]
        taken.reverse()
        del self._free[kept:]
        taken += [self._evicted() for _ in range(num_blocks - len(taken))]
        for block in taken:
            self._holders[block] = 1
        return taken

    def find(self, name: BlockName) -> BlockId | None:
        """Give the block of a name. It may be remembered or held; share it to keep it."""
        return self._block_of.get(name)

    def found(self, names: Iterable[BlockName]) -> list[BlockId]:
        """Give the blocks of names that are there."""
        return [self._block_of[name] for name in names]

    def share(self, blocks: Iterable[BlockId]) -> None:
        """Hold named blocks once more."""
        holders = self._holders
        for block in blocks:
            assert self._name_of[block] is not None, "only full blocks, with names, are shared"
            if holders[block] == 0:
                del self._remembered[block]
            holders[block] += 1

    def release(self, blocks: Iterable[BlockId]) -> None:
        """Hold blocks once less. Of those then remembered, the first is forgotten first."""
        holders, name_of = self._holders, self._name_of
        for block in blocks:
            num_left = holders[block] - 1
            assert num_left >= 0, "a block is released as often as it was held"
            holders[block] = num_left
            if num_left:
                continue
            if name_of[block] is None:
                self._free.append(block)
            else:
                self._remembered[block] = None

    def remember(self, block: BlockId, name: BlockName) -> None:
        """Name a held block, whose content will not change any more.

        Effects: none where the name is another block's: equal content needs one name only.
        """
        assert self._holders[block] > 0, "a block is named by one of its holders"
        if name not in self._block_of:
            assert self._name_of[block] is None, "a block is named once"
            self._block_of[name] = block
            self._name_of[block] = name

    def forget(self) -> None:
        """Take all names away: what blocks hold is not trusted any more."""
        self._free.extend(self._remembered)
        self._remembered.clear()
        self._block_of.clear()
        self._name_of = [None] * self._num_blocks

    def unname(self, name: BlockName) -> None:
        """Take one name away, where a block has it: what that block holds is not trusted."""
        block = self._block_of.pop(name, None)
        if block is not None:
            self._name_of[block] = None
            if block in self._remembered:
                del self._remembered[block]
                self._free.append(block)

    def faults(self) -> Sequence[str]:
        """Say what is wrong with the pool's books, in words; nothing where they agree.

        Costs a walk over all blocks.
        """
        found = []
        free, kept = set(self._free), set(self._remembered)
        if len(free) != len(self._free) or free & kept or NULL_BLOCK in free | kept:
            found.append("a block is free twice, both free and remembered, or null")
        for block in range(NULL_BLOCK + 1, self._num_blocks):
            named, held = self._name_of[block] is not None, self._holders[block] > 0
            if (held, named) != (False, False) and block in free:
                found.append(f"block {block} is free, but held or named")
            if (held, named) != (False, True) and block in kept:
                found.append(f"block {block} is remembered, but held or without a name")
            if not held and block not in free and block not in kept:
                found.append(f"block {block} is lost")
        if {name: block for block, name in enumerate(self._name_of) if name} != self._block_of:
            found.append("names and blocks do not point at each other")
        return found

    def _evicted(self) -> BlockId:
        block, _ = self._remembered.popitem(last=False)
        self.num_evicted += 1
        name = self._name_of[block]
        assert name is not None, "a remembered block has a name"
        del self._block_of[name]
        self._name_of[block] = None
        return block
