"""The pool against a model of it that is too simple to be wrong, on random walks."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable

import pytest

from octavo.kv.pool import BlockId, BlockName, Pool

# A nightly run walks further: OCTAVO_WALK_MOVES=200000
NUM_MOVES = int(os.environ.get("OCTAVO_WALK_MOVES", "2000"))


MOVES = (*["take"] * 4, *["release"] * 4, *["remember", "share"] * 2, "unname")


def name(number: int) -> BlockName:
    return BlockName(number.to_bytes(4, "little"))


def walk(pool: Pool, *, num_moves: int, seed: int) -> None:
    """Make random moves; after each, the pool agrees with who holds what."""
    chance = random.Random(seed)
    held: list[BlockId] = []
    names: dict[BlockId, BlockName] = {}
    order: list[BlockId] = []  # remembered, the longest unused first
    for number in range(num_moves):
        move = chance.choice(MOVES)
        if move == "take":
            wanted = chance.randint(0, 4)
            num_free = pool.num_free
            taken = pool.take(wanted)
            assert (taken is None) == (wanted > num_free + len(order))
            if taken is not None:
                forgotten = order[: max(0, wanted - num_free)]
                assert set(forgotten) == {block for block in taken if block in names}
                assert len(set(taken)) == wanted
                assert not set(taken) & ({*held, 0} | set(order[len(forgotten) :]))
                order = order[len(forgotten) :]
                for block in forgotten:
                    assert pool.find(names.pop(block)) is None
                held += taken
        elif move == "release" and held:
            block = held.pop(chance.randrange(len(held)))
            pool.release([block])
            if block not in held and block in names:
                order.append(block)
        elif move == "remember" and held:
            block = chance.choice(held)
            if block not in names:
                names[block] = name(number)
                pool.remember(block, names[block])
        elif move == "share" and names:
            block = chance.choice(sorted(names))
            found = pool.find(names[block])
            assert found == block
            pool.share([block])
            held.append(block)
            if block in order:
                order.remove(block)
        elif move == "unname" and names:
            block = chance.choice(sorted(names))
            pool.unname(names[block])
            assert pool.find(names.pop(block)) is None
            if block in order:
                order.remove(block)
        assert pool.num_held == len(set(held))
        assert pool.num_remembered == len(order)
        assert pool.num_free == pool.num_usable - len(set(held)) - len(order)
        assert pool.faults() == []


@pytest.mark.parametrize("seed", range(2))
def test_after_any_walk_every_block_is_free_held_or_remembered(seed: int) -> None:
    walk(Pool(12), num_moves=NUM_MOVES, seed=seed)


class ReleasesTwice(Pool):
    def release(self, blocks: Iterable[BlockId]) -> None:
        for block in blocks:
            super().release([block])
            if self.num_held:
                super().release([block])


class GivesTheNullBlock(Pool):
    def take(self, num_blocks: int) -> list[BlockId] | None:
        taken = super().take(num_blocks)
        return [BlockId(0), *taken[1:]] if taken else taken


class KeepsWhatItCouldNotGive(Pool):
    def take(self, num_blocks: int) -> list[BlockId] | None:
        taken = super().take(min(num_blocks, self.num_available))
        return taken if taken is not None and len(taken) == num_blocks else None


class LosesABlock(Pool):
    def release(self, blocks: Iterable[BlockId]) -> None:
        super().release(block for block in blocks if block != 5)


class SharesWithoutCounting(Pool):
    def share(self, blocks: Iterable[BlockId]) -> None:
        return


class NeverRemembers(Pool):
    def remember(self, block: BlockId, name: BlockName) -> None:
        return


@pytest.mark.parametrize(
    "mutant",
    [
        ReleasesTwice, GivesTheNullBlock, KeepsWhatItCouldNotGive, LosesABlock,
        SharesWithoutCounting, NeverRemembers,
    ],
)  # fmt: skip
def test_the_walk_finds_a_planted_bug(mutant: type[Pool]) -> None:
    with pytest.raises(AssertionError):
        walk(mutant(12), num_moves=600, seed=0)


def test_take_gives_none_and_changes_nothing_when_too_few_are_left() -> None:
    pool = Pool(4)
    assert pool.take(4) is None
    assert pool.num_free == 3


def test_the_longest_unused_block_is_forgotten_first() -> None:
    pool = Pool(4)
    blocks = pool.take(3)
    assert blocks is not None
    for number, block in enumerate(blocks):
        pool.remember(block, name(number))
    pool.release(reversed(blocks))
    pool.share([blocks[2]])
    pool.release([blocks[2]])
    assert pool.take(1) == [blocks[1]]
    assert [pool.find(name(number)) is None for number in range(3)] == [False, True, False]


def test_a_second_block_of_the_same_name_is_free_when_it_is_released() -> None:
    pool = Pool(3)
    blocks = pool.take(2)
    assert blocks is not None
    for block in blocks:
        pool.remember(block, name(7))
    pool.release(blocks)
    assert (pool.num_free, pool.num_remembered, pool.find(name(7))) == (1, 1, blocks[0])


def test_a_pool_that_forgets_finds_no_name_and_has_lost_no_block() -> None:
    pool = Pool(6)
    kept, left = (pool.take(2) or [] for _ in range(2))
    for number, block in enumerate([*kept, *left]):
        pool.remember(block, name(number))
    pool.release(left)
    pool.forget()
    assert [pool.find(name(number)) for number in range(4)] == [None] * 4
    assert (pool.num_free, pool.num_remembered, pool.num_held) == (3, 0, 2)
    assert pool.faults() == []
    pool.remember(kept[0], name(2))
    assert pool.find(name(2)) == kept[0]
