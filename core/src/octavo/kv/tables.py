"""The block table: for each seat the blocks of its context, in order.

    seat 3   [ 17 | 4 | 9 | 0 | 0 ... ]    block 9 holds positions 2P to 3P-1

One array, written in place; entries past a seat's last block are null. So are those before its
first, where it gave blocks back that nobody looks at any more:

    seat 5   [  0 | 0 | 8 | 2 | 0 ... ]    it holds what its window needs

Knows nothing of who holds a block, nor how full it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octavo.kv.pool import BlockId
from octavo.kv.runs import Places, runs
from octavo_platforms.inputs import NULL_BLOCK, Ints


class Tables:
    """The blocks of every seat.

    `blocks` and `num_tokens` are read by others and written here only.

    Shapes: blocks int32 [seats, blocks of the longest context]; num_tokens int32 [seats], the
        positions up to which a seat's blocks have room; first int32 [seats], how many blocks it
        gave back; edits int32 [seats], how often a row was written.
    """

    def __init__(self, *, num_seats: int, max_context_tokens: int, block_size: int) -> None:
        self.block_size = block_size
        self.blocks: Ints = np.full(
            (num_seats, self.num_blocks_for(max_context_tokens)), NULL_BLOCK, np.int32
        )
        self.num_tokens: Ints = np.zeros(num_seats, np.int32)
        self.first: Ints = np.zeros(num_seats, np.int32)
        self.edits: Ints = np.zeros(num_seats, np.int32)

    def num_blocks_for(self, num_tokens: int) -> int:
        """Give the number of blocks that a context of this length needs."""
        return -(-num_tokens // self.block_size)

    def append(self, seat: int, blocks: Sequence[BlockId]) -> None:
        """Add blocks at the end of a seat's context."""
        first = int(self.num_tokens[seat]) // self.block_size
        self.blocks[seat, first : first + len(blocks)] = blocks
        self.num_tokens[seat] += len(blocks) * self.block_size
        self.edits[seat] += 1

    def grow(self, seats: Ints | Places, blocks: Sequence[BlockId]) -> None:
        """Add one block at the end of each of several seats' contexts.

        Shapes: seats [n], all different; blocks [n].
        """
        num_tokens = self.num_tokens.take(seats)
        self.blocks[seats, num_tokens // self.block_size] = blocks
        self.num_tokens[seats] = num_tokens + self.block_size
        self.edits[seats] += 1

    def extend(self, seats: Ints | Places, counts: Ints, blocks: Ints) -> None:
        """Add blocks at the end of several seats' contexts.

        Shapes: seats and counts [G], all seats different; blocks [the sum of counts], seat by seat.
        """
        self.blocks[runs(seats, self.num_tokens[seats] // self.block_size, counts)] = blocks
        self.num_tokens[seats] += counts * self.block_size
        self.edits[seats] += 1

    def skip(self, seat: int, num_blocks: int) -> None:
        """Let an empty row begin with null blocks, for what nobody will look at."""
        assert self.num_tokens[seat] == 0, "a row is skipped into before it has blocks"
        self.first[seat] = num_blocks
        self.num_tokens[seat] = num_blocks * self.block_size
        self.edits[seat] += 1

    def drop(self, seat: int, num_blocks: int) -> list[BlockId]:
        """Make the first entries of a row null, so many in all, and give the blocks they had."""
        first = int(self.first[seat])
        row = self.blocks[seat, first:num_blocks]
        dropped = [BlockId(block) for block in row.tolist()]
        row[:] = NULL_BLOCK
        self.first[seat] = num_blocks
        self.edits[seat] += 1
        return dropped

    def block(self, seat: int, index: int) -> BlockId:
        """Give one block of a seat's context."""
        return BlockId(int(self.blocks[seat, index]))

    def clear(self, seat: int) -> list[BlockId]:
        """Empty a seat's row and give the blocks that it had, in order."""
        count = int(self.num_tokens[seat]) // self.block_size
        row = self.blocks[seat, int(self.first[seat]) : count]
        blocks = [BlockId(block) for block in row.tolist()]
        row[:] = NULL_BLOCK
        self.num_tokens[seat] = self.first[seat] = 0
        self.edits[seat] += 1
        return blocks
