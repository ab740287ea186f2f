"""The block table, written in place."""

from __future__ import annotations

import os
import random
from itertools import count

import numpy as np
import pytest

from octavo.kv.pool import BlockId
from octavo.kv.tables import Tables

# A nightly run walks further: OCTAVO_WALK_MOVES=200000
NUM_MOVES = int(os.environ.get("OCTAVO_WALK_MOVES", "2000"))
NUM_SEATS, WIDTH, SIZE = 5, 9, 4


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


class Model:
    """Tables beside lists of blocks, which are too simple to be wrong; null where given back."""

    def __init__(self, chance: random.Random) -> None:
        self.tables = Tables(num_seats=NUM_SEATS, max_context_tokens=WIDTH * SIZE, block_size=SIZE)
        self.rows: list[list[int]] = [[] for _ in range(NUM_SEATS)]
        self._chance = chance
        self._fresh = map(BlockId, count(1))

    def new(self, num_blocks: int) -> list[BlockId]:
        return [next(self._fresh) for _ in range(num_blocks)]

    def room(self, seat: int) -> int:
        return WIDTH - len(self.rows[seat])

    def append(self, seat: int) -> None:
        blocks = self.new(self._chance.randint(0, self.room(seat)))
        self.tables.append(seat, blocks)
        self.rows[seat] += blocks

    def grow(self, _: int) -> None:
        seats = [seat for seat in range(NUM_SEATS) if self.room(seat)]
        seats = self._chance.sample(seats, self._chance.randint(0, len(seats)))
        blocks = self.new(len(seats))
        self.tables.grow(np.array(seats, np.int32), blocks)
        for seat, block in zip(seats, blocks, strict=True):
            self.rows[seat].append(block)

    def extend(self, _: int) -> None:
        seats = self._chance.sample(range(NUM_SEATS), self._chance.randint(1, NUM_SEATS))
        counts = [self._chance.randint(0, self.room(seat)) for seat in seats]
        blocks = self.new(sum(counts))
        self.tables.extend(
            np.array(seats, np.int32), np.array(counts, np.int32), np.array(blocks, np.int32)
        )
        for seat, number in zip(seats, counts, strict=True):
            self.rows[seat] += blocks[:number]
            blocks = blocks[number:]

    def skip(self, seat: int) -> None:
        if not self.rows[seat]:
            number = self._chance.randint(1, WIDTH)
            self.tables.skip(seat, number)
            self.rows[seat] = [0] * number

    def drop(self, seat: int) -> None:
        row = self.rows[seat]
        first = row.count(0)
        number = self._chance.randint(first, len(row))
        assert self.tables.drop(seat, number) == row[first:number]
        row[:number] = [0] * number

    def clear(self, seat: int) -> None:
        assert self.tables.clear(seat) == [block for block in self.rows[seat] if block]
        self.rows[seat] = []

    def check(self) -> None:
        """Hold the tables against the lists."""
        padded = [row + [0] * (WIDTH - len(row)) for row in self.rows]
        assert self.tables.blocks.tolist() == padded
        assert self.tables.num_tokens.tolist() == [len(row) * SIZE for row in self.rows]
        assert self.tables.first.tolist() == [row.count(0) for row in self.rows]


@pytest.mark.parametrize("seed", range(2))
def test_after_any_walk_tables_list_what_seats_were_given_and_an_edit_is_counted(
    seed: int,
) -> None:
    chance = random.Random(seed)
    model = Model(chance)
    moves = (model.append, model.grow, model.extend, model.skip, model.drop, model.clear)
    for _ in range(NUM_MOVES):
        before, edits = model.tables.blocks.copy(), model.tables.edits.copy()
        chance.choice(moves)(chance.randrange(NUM_SEATS))
        model.check()
        is_changed = (model.tables.blocks != before).any(axis=1)
        assert (model.tables.edits[is_changed] > edits[is_changed]).all()
