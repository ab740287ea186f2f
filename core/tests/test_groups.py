"""Programs of several state groups on random walks: windows give blocks back, states are kept.

The program behind the scheduler reads each group as a device would, and holds what it finds
against the whole context: whatever was given back too early shows at once.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from octavo.errors import OperatorError
from octavo.heart import heart
from octavo.kv.groups import Group, Holdings
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.testing.hybrid import SEEN, HybridProgram, Sizes
from octavo.testing.null import NullProgram, by_hand
from octavo.testing.walks import Walk

VOCAB_SIZE = 97
SIZE = 4
# A nightly run walks further: OCTAVO_WALK_MOVES=200000
NUM_MOVES = int(os.environ.get("OCTAVO_WALK_MOVES", "2000"))
WINDOW = Sizes(window=6, window_blocks=12)
STATES = Sizes(ring=1, num_snapshots=5)
ALL = Sizes(window=5, window_blocks=11, ring=3, num_snapshots=4)
ALONE = Sizes(ring=1, num_snapshots=5, has_blocks=False)
ALONE_AHEAD = Sizes(ring=3, num_snapshots=4, has_blocks=False)
NARROW = Sizes(window=1, window_blocks=8)
HYBRIDS = {
    "window": WINDOW,
    "narrow": NARROW,
    "states": STATES,
    "all": ALL,
    "alone": ALONE,
    "alone ahead": ALONE_AHEAD,
}


def limits(*, blocks: int | None = 18, requests: int = 4, step_tokens: int = 9) -> Limits:
    return Limits(
        max_context_tokens=48,
        num_blocks=blocks,
        block_size=SIZE,
        max_requests=requests,
        max_step_tokens=step_tokens,
        vocab_size=VOCAB_SIZE,
    )


class Desk(Walk):
    """A scheduler with a late hybrid behind it, whose groups can be looked into."""

    def __init__(self, sizes: Sizes, allowed: Limits, *, num_copies: int = 3) -> None:
        self.program = HybridProgram(allowed, sizes)
        super().__init__(
            allowed,
            program=self.program,
            states=sizes.states(allowed.block_size),
            num_blocks=sizes.num_blocks(allowed),
            num_copies=num_copies,
        )
        self.holdings: Holdings = self.scheduler.holdings

    def run(self, name: str, prompt: list[int], *, max_tokens: int = 1, salt: str = "") -> Request:
        one = self.add(name, prompt, max_tokens=max_tokens, salt=salt)
        self.drain()
        assert one.output_ids == by_hand(prompt, num_tokens=max_tokens, vocab_size=VOCAB_SIZE)
        return one

    def blocks_of(self, group: str) -> list[int]:
        """Give the blocks that the tables of a group list."""
        (found,) = (each for each in self.holdings.groups if each.group.name == group)
        blocks = found.tables.blocks
        listed: list[int] = blocks[blocks != 0].tolist()
        return listed


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("name", HYBRIDS)
def test_after_any_walk_nothing_leaks_and_every_group_held_what_was_read(
    name: str, depth: int
) -> None:
    sizes = HYBRIDS[name]
    allowed = limits() if sizes.has_blocks else limits(blocks=None)
    desk = Desk(sizes, allowed)
    desk.wander(NUM_MOVES, seed=depth, depth=depth)
    if sizes.has_blocks:
        assert desk.scheduler.num_preemptions > 0, "a walk that never ran out shows nothing of it"
    else:
        assert desk.scheduler.num_preemptions == 0, "what stands in rows of a seat never runs out"
    assert desk.holdings.num_hit_tokens > 0, "a walk without a hit shows nothing of them"
    assert all(pool.num_evicted > 0 for pool in desk.holdings.pools)


def test_a_request_holds_no_more_of_a_window_group_than_its_window_and_its_chunk_need() -> None:
    allowed, prompt = limits(step_tokens=8), list(range(38))
    desk = Desk(WINDOW, allowed)
    needed = Group(SEEN, 12, 6).num_needed(context_tokens=48, step_tokens=8, block_size=SIZE)
    desk.add("a", prompt, max_tokens=8)
    most = 0
    while desk.schedule() is not None:
        most = max(most, len(desk.blocks_of(SEEN)))
        desk.commit()
        desk.check()
    assert most <= needed < len(desk.blocks_of("kv")) + 12
    assert needed == 5
    assert desk.program.num_copied == 0


def test_a_context_far_longer_than_a_window_group_runs_in_it() -> None:
    sizes = Sizes(window=6, window_blocks=6)
    desk = Desk(sizes, limits(step_tokens=8))
    desk.run("a", list(range(40)), max_tokens=8)


def test_a_window_group_without_room_for_one_request_is_refused_with_the_numbers() -> None:
    sizes = Sizes(window=6, window_blocks=5)
    with pytest.raises(OperatorError, match="has 4 blocks of 4 tokens, but a request needs 5"):
        Desk(sizes, limits(step_tokens=8))


def test_a_hit_needs_of_a_window_group_what_the_window_reaches_alone() -> None:
    desk = Desk(Sizes(window=6, window_blocks=8), limits(step_tokens=8))
    prompt = list(range(30))
    assert desk.run("a", prompt).num_cached_tokens == 0
    window = desk.holdings.groups[1]
    assert window.num_gone(28) == 5
    taken = window.pool.take(window.pool.num_available - 3)
    assert taken is not None
    assert window.pool.num_evicted > 0
    window.pool.release(taken)
    assert desk.run("b", prompt).num_cached_tokens == 28


def test_a_hit_ends_where_a_window_group_has_forgotten_what_stands_before() -> None:
    desk = Desk(Sizes(window=6, window_blocks=8), limits(step_tokens=8))
    desk.run("a", list(range(30)))
    window = desk.holdings.groups[1]
    taken = window.pool.take(window.pool.num_available)
    assert taken is not None
    window.pool.release(taken)
    assert desk.run("b", list(range(30))).num_cached_tokens == 0
    assert desk.run("c", list(range(30))).num_cached_tokens == 28


def test_the_same_prompt_goes_on_from_the_state_behind_its_last_full_block() -> None:
    desk = Desk(STATES, limits(step_tokens=40))
    prompt = list(range(18))
    assert [desk.run(name, prompt).num_cached_tokens for name in "ab"] == [0, 16]
    assert desk.run("c", prompt, max_tokens=9).num_cached_tokens == 16
    assert desk.run("d", [*prompt, 3]).num_cached_tokens == 16


def test_a_later_turn_goes_on_from_the_state_behind_the_output_of_the_turn_before() -> None:
    desk = Desk(STATES, limits(step_tokens=40))
    first = desk.run("a", [1, 2, 3], max_tokens=10)
    assert desk.run("b", [1, 2, 3, *first.output_ids, 5]).num_cached_tokens == 12


def test_a_state_is_kept_where_two_contexts_part_and_a_third_goes_on_from_there() -> None:
    desk = Desk(STATES, limits(step_tokens=40))
    shared = list(range(12))
    found = [
        desk.run(name, [*shared, *[number] * 7]).num_cached_tokens
        for number, name in enumerate("abc", 50)
    ]
    assert found == [0, 0, 12]


def test_a_chunk_ends_where_a_state_is_to_be_kept() -> None:
    desk = Desk(STATES, limits(step_tokens=40))
    desk.add("a", list(range(18)), max_tokens=1)
    steps = []
    while (step := desk.schedule()) is not None:
        steps.append((step.num_tokens.tolist(), step.kept.positions.tolist()))
        desk.commit()
    assert steps == [([16], [16]), ([2], [])]


def test_states_are_forgotten_the_longest_unused_first() -> None:
    desk = Desk(Sizes(ring=1, num_snapshots=2), limits(step_tokens=40))
    one, two, three = ([number] * 6 for number in (1, 2, 3))
    desk.run("a", one)
    desk.run("b", two)
    assert desk.run("c", one).num_cached_tokens == 4
    desk.run("d", three)
    assert desk.run("e", one).num_cached_tokens == 4
    assert desk.run("f", two).num_cached_tokens == 0


def test_without_a_way_to_copy_states_no_prefix_is_taken() -> None:
    desk = Desk(STATES, limits(), num_copies=0)
    assert [desk.run(name, list(range(18))).num_cached_tokens for name in "ab"] == [0, 0]
    assert desk.program.num_copied == 0


@pytest.mark.parametrize("num_tokens", range(1, 9))
def test_who_is_aborted_with_unread_tokens_leaves_no_row_held(num_tokens: int) -> None:
    desk = Desk(STATES, limits(requests=1))
    one = desk.add("a", [5, 6, 7], max_tokens=20)
    for _ in range(num_tokens):
        desk.schedule()
        desk.schedule()
        desk.commit()
    desk.schedule()
    desk.scheduler.end(one.request_id, "abort")
    desk.check()
    desk.run("b", [9] * 20, max_tokens=6)
    assert desk.run("c", [9] * 20).num_cached_tokens == 16


def test_look_ups_hits_and_evictions_are_counted_in_tokens_and_blocks() -> None:
    allowed = limits(blocks=9, step_tokens=40)
    engine = heart(NullProgram(allowed), allowed).engine()
    params = SamplingParams(temperature=0.0, max_tokens=1)
    told = []
    for name, prompt in (("a", [1] * 18), ("b", [1] * 18), ("c", [2] * 18)):
        engine.add(Request(name, prompt, params))
        while engine.has_work:
            engine.step()
        stats = engine.stats
        told.append((stats.prefix_query_tokens, stats.prefix_hit_tokens, stats.evictions))
    assert told == [(18, 0, 0), (36, 16, 0), (54, 16, 1)]


def test_without_prefix_caching_nothing_is_looked_up() -> None:
    allowed = replace(limits(), prefix_caching=False)
    engine = heart(NullProgram(allowed), allowed).engine()
    engine.add(Request("a", [1] * 9, SamplingParams(max_tokens=1)))
    while engine.has_work:
        engine.step()
    assert engine.stats.prefix_query_tokens == engine.stats.prefix_hit_tokens == 0
