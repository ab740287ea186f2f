"""The block table: for each seat the blocks of its context, in order.

    seat 3   [ 17 | 4 | 9 | 0 | 0 ... ]    block 9 holds positions 2P to 3P-1

One array, written in place; entries past a seat's last block are null.

Knows nothing of who holds a block, nor how full it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octavo.kv.pool import BlockId
from octavo_platforms.inputs import NULL_BLOCK, Ints


class Tables:
    """The blocks of every seat.

    `blocks` and `num_tokens` are read by others and written here only.

    Shapes: blocks int32 [seats, blocks of the longest context]; num_tokens int32 [seats], the
        positions that a seat's blocks have room for.
    """

    def __init__(self, *, num_seats: int, max_context_tokens: int, block_size: int) -> None:
        self.block_size = block_size
        self.blocks: Ints = np.full(
            (num_seats, self.num_blocks_for(max_context_tokens)), NULL_BLOCK, np.int32
        )
        self.num_tokens: Ints = np.zeros(num_seats, np.int32)

    def num_blocks_for(self, num_tokens: int) -> int:
        """Give the number of blocks that a context of this length needs."""
        return -(-num_tokens // self.block_size)

    def append(self, seat: int, blocks: Sequence[BlockId]) -> None:
        """Add blocks at the end of a seat's context."""
        first = int(self.num_tokens[seat]) // self.block_size
        self.blocks[seat, first : first + len(blocks)] = blocks
        self.num_tokens[seat] += len(blocks) * self.block_size

    def grow(self, seats: Ints, blocks: Sequence[BlockId]) -> None:
        """Add one block at the end of each of several seats' contexts.

        Shapes: seats [n], all different; blocks [n].
        """
        self.blocks[seats, self.num_tokens[seats] // self.block_size] = blocks
        self.num_tokens[seats] += self.block_size

    def block(self, seat: int, index: int) -> BlockId:
        """Give one block of a seat's context."""
        return BlockId(int(self.blocks[seat, index]))

    def clear(self, seat: int) -> list[BlockId]:
        """Empty a seat's row and give the blocks that it had, in order."""
        count = int(self.num_tokens[seat]) // self.block_size
        row = self.blocks[seat, :count]
        blocks = [BlockId(block) for block in row.tolist()]
        row[:] = NULL_BLOCK
        self.num_tokens[seat] = 0
        return blocks
