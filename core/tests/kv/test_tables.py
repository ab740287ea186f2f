"""The block table, written in place."""

from __future__ import annotations

import numpy as np

from octavo.kv.pool import BlockId
from octavo.kv.tables import Tables


def ids(*blocks: int) -> list[BlockId]:
    return [BlockId(block) for block in blocks]


def test_a_row_lists_its_blocks_in_order_and_ends_in_null_blocks() -> None:
    tables = Tables(num_seats=3, max_context_tokens=17, block_size=4)
    tables.append(1, ids(7, 4))
    tables.append(1, ids(9))
    assert tables.blocks.tolist() == [[0] * 5, [7, 4, 9, 0, 0], [0] * 5]
    assert tables.num_tokens.tolist() == [0, 12, 0]
    assert tables.block(1, 2) == 9


def test_several_rows_grow_by_one_block_each() -> None:
    tables = Tables(num_seats=3, max_context_tokens=8, block_size=4)
    tables.append(2, ids(5))
    tables.grow(np.array([2, 1], np.int32), ids(6, 7))
    assert tables.blocks.tolist() == [[0, 0], [7, 0], [5, 6]]
    assert tables.num_tokens.tolist() == [0, 4, 8]


def test_a_cleared_row_gives_its_blocks_and_leaves_none() -> None:
    tables = Tables(num_seats=2, max_context_tokens=8, block_size=4)
    tables.append(1, ids(3, 2))
    assert tables.clear(1) == [3, 2]
    assert tables.clear(1) == []
    assert not tables.blocks.any()


def test_a_context_needs_a_block_for_each_started_block() -> None:
    tables = Tables(num_seats=2, max_context_tokens=8, block_size=4)
    assert [tables.num_blocks_for(count) for count in (0, 1, 4, 5, 8)] == [0, 1, 1, 2, 2]
