"""A program whose states are all overwritten as they go: nothing stands in blocks.

A block is then a run of tokens that has a name, and a hit needs the state kept behind one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from octavo.config import from_environment
from octavo.engine import Engine
from octavo.errors import OperatorError, PromptTooLong
from octavo.fit import Costs, Demand, Shares
from octavo.heart import heart
from octavo.kv.pool import BlockName
from octavo.kv.trail import Trail
from octavo.request import Request
from octavo.resolved import ModelFacts, PlatformFacts, resolve
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.scheduler.asked import limits_of
from octavo.testing.hybrid import HybridProgram, Sizes
from octavo.testing.laggard import Laggard
from octavo.testing.null import by_hand

VOCAB_SIZE = 97
SIZE = 4
SIZES = Sizes(ring=1, num_snapshots=6, has_blocks=False)
ALLOWED = Limits(
    max_context_tokens=48,
    num_blocks=None,
    block_size=SIZE,
    max_requests=4,
    max_step_tokens=9,
    vocab_size=VOCAB_SIZE,
)


def engine(*, sizes: Sizes = SIZES, allowed: Limits = ALLOWED, depth: int = 1) -> Engine:
    parts = heart(
        Laggard(HybridProgram(allowed, sizes)),
        allowed,
        states=sizes.states(SIZE),
        num_blocks=sizes.num_blocks(allowed),
        num_copies=3,
    )
    return parts.engine(max_in_flight=depth)


def run(subject: Engine, *prompts: list[int], max_tokens: int = 1) -> list[int]:
    """Run prompts together, hold what they get, and give how much was not computed again."""
    params = SamplingParams(temperature=0.0, max_tokens=max_tokens, ignore_eos=True)
    asked = [Request(f"{number}", prompt, params) for number, prompt in enumerate(prompts)]
    for one in asked:
        subject.add(one)
    while subject.has_work:
        subject.step()
    for one, prompt in zip(asked, prompts, strict=True):
        assert one.output_ids == by_hand(prompt, num_tokens=max_tokens, vocab_size=VOCAB_SIZE)
    return [one.num_cached_tokens for one in asked]


@pytest.mark.parametrize("ring", [1, 3])
@pytest.mark.parametrize("depth", [1, 2])
def test_requests_in_parts_and_beside_others_get_the_tokens_of_requests_alone(
    depth: int, ring: int
) -> None:
    draw = np.random.default_rng(depth)
    lengths = (3, 21, 8, 30, 1, 17, 12)
    prompts = [draw.integers(0, VOCAB_SIZE, length).tolist() for length in lengths]
    prompts.append([*prompts[3][:20], *prompts[1][:4]])
    sizes = replace(SIZES, ring=ring, num_snapshots=40)
    subject = engine(sizes=sizes, depth=depth)
    run(subject, *prompts, max_tokens=12)
    assert any(run(subject, *reversed(prompts), max_tokens=12))
    assert subject.stats.preemptions == subject.stats.held_blocks == 0


@pytest.mark.parametrize("depth", [1, 2])
def test_a_prompt_goes_on_behind_the_last_state_that_was_kept_of_its_beginning(depth: int) -> None:
    subject = engine(depth=depth)
    prompt = list(range(18))
    assert run(subject, prompt) == [0]
    assert run(subject, prompt) == [16]
    assert run(subject, [*prompt[:16], 50, 51], [60, 61]) == [16, 0]
    parted = [run(subject, [*prompt[:15], number, 51]) for number in (50, 52)]
    assert parted == [[0], [12]]


def test_a_state_is_kept_where_two_contexts_part_and_a_third_goes_on_from_there() -> None:
    subject = engine(allowed=replace(ALLOWED, max_step_tokens=40))
    shared = list(range(12))
    found = [run(subject, [*shared, *[number] * 7]) for number in (50, 51, 52)]
    assert found == [[0], [0], [12]]


def test_books_count_rows_of_snapshots_alone() -> None:
    subject = engine()
    run(subject, list(range(18)))
    stats = subject.stats
    assert (stats.held_blocks, stats.free_blocks + stats.remembered_blocks) == (0, 6)
    for number in range(7):
        run(subject, [number] * 9)
    assert subject.stats.evictions > 0
    assert subject.stats.free_blocks + subject.stats.remembered_blocks == 6


def test_without_rows_for_snapshots_nothing_is_found_and_nothing_else_changes() -> None:
    subject = engine(sizes=replace(SIZES, num_snapshots=0))
    assert run(subject, list(range(18)), max_tokens=5) == [0]
    assert run(subject, list(range(18)), max_tokens=5) == [0]
    assert subject.stats.prefix_query_tokens == subject.stats.free_blocks == 0


def test_the_model_alone_says_how_long_a_context_may_be() -> None:
    with pytest.raises(PromptTooLong, match="the model holds 48 tokens"):
        engine().add(Request("a", [1] * 48, SamplingParams()))
    with pytest.raises(OperatorError, match="a context of 1 tokens"):
        replace(ALLOWED, max_context_tokens=1)


def test_a_cache_for_nothing_but_states_holds_as_many_as_pay_or_fit() -> None:
    costs = Costs(block_size=SIZE, block_bytes=0, snapshot_bytes=700)
    demand = Demand(num_requests=8, context_tokens=1600, step_tokens=64)
    assert costs.split(10_000, demand) == Shares(None, {}, 10_000 // 700, 14 * 700)
    assert costs.split(1 << 40, demand) == Shares(None, {}, 32, 32 * 700)
    everything = costs.split(costs.wanted(demand), demand)
    assert everything.num_snapshots == 32
    assert costs.has_room(everything, demand)
    assert costs.num_at_once(everything, demand) == 8
    assert costs.least(demand, num_tokens=1600) == 0


def test_a_model_without_blocks_gets_its_whole_context_whatever_the_cache() -> None:
    model = ModelFacts(
        dtype="float32",
        max_context_tokens=1 << 18,
        kv_numbers=0,
        num_weights=1000,
        seat_bytes=5000,
        snapshot_bytes=5000,
    )
    acme = PlatformFacts(
        name="acme", dtypes=("float32",), free_bytes=1 << 40, shares_host_memory=False
    )
    asked = replace(from_environment({}), max_requests=8)
    found = resolve(asked, model, acme)
    assert (found.num_blocks, found.num_snapshots, found.num_at_once) == (None, 4 * 8, 8)
    small = resolve(replace(asked, kv_cache_bytes=12_000), model, acme)
    assert (small.num_snapshots, small.max_context_tokens) == (2, 1 << 18)
    off = resolve(replace(asked, prefix_caching=False), model, acme)
    assert (off.num_snapshots, off.kv_cache_bytes, off.num_at_once) == (0, 0, 8)
    limits = limits_of(asked, found, vocab_size=VOCAB_SIZE)
    assert (limits.num_blocks, limits.num_context_tokens) == (None, 1 << 18)


def test_a_trail_forgets_the_names_that_were_noted_longest_ago() -> None:
    one, two, three, four = (BlockName(bytes([number])) for number in range(4))
    trail = Trail(most=3)
    trail.add([one, two, three])
    trail.add([one])
    trail.add([four])
    assert [name in trail for name in (one, two, three, four)] == [True, False, True, True]
    trail.forget()
    assert one not in trail
