"""Recurrent states on every platform that is here: snapshots and drafts change no token."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from octavo import SamplingParams
from octavo.testing.drive import Running, generate, run_on
from octavo.testing.flights import HOW_RIGHT, LIMITS, TOY, Flights
from octavo.testing.random_weights import RandomWeights
from octavo.testing.snapshots import Snapshots
from octavo.testing.toys import draft, recurrent
from octavo.testing.toys.checking import WIDTH
from octavo.testing.toys.zoo import NUM_BLOCKS, VOCAB_SIZE
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms import discover
from octavo_platforms.errors import CannotBind
from octavo_platforms.loaded import Platform

FRAMEWORK_OF = {"oracle": None, "cpu": "torch", "jax": "jax", "emulated": "torch"}
NUM_SHARED, NUM_TOKENS, KEPT_ROW = 8, 6, 11
FLOWN = [
    *((name, how_right) for name in ("oracle", "cpu") for how_right in HOW_RIGHT),
    *((name, "sometimes") for name in ("jax", "emulated")),
]


def platform(name: str) -> Platform:
    framework = FRAMEWORK_OF[name]
    if framework is None:
        return Platform(OraclePlatform())
    pytest.importorskip(framework)
    found = discover.load(name)
    if not found.probe().found:
        pytest.skip(found.probe().words)
    return found


@cache
def snapshots(name: str) -> Snapshots:
    toy = recurrent.program(TOY, limits=LIMITS)
    running = run_on(platform(name), toy, RandomWeights(toy), num_blocks=NUM_BLOCKS)
    return Snapshots(running, recurrent.GROUP, KEPT_ROW)


@cache
def flights(name: str) -> Flights:
    plain = recurrent.program(TOY, limits=LIMITS)
    drafting = draft.program(TOY, limits=LIMITS, layer=recurrent.layer(ring=WIDTH))
    return Flights(platform(name), temperature=0.0, programs=(plain, drafting))


@cache
def without_blocks(name: str) -> Running:
    toy = recurrent.alone(TOY, limits=LIMITS)
    return run_on(platform(name), toy, RandomWeights(toy), num_blocks=NUM_BLOCKS)


def prompts(num_shared: int = NUM_SHARED) -> tuple[list[int], list[int]]:
    draw = np.random.default_rng(11)
    shared = draw.integers(0, VOCAB_SIZE, num_shared).tolist()
    first, second = (draw.integers(0, VOCAB_SIZE, count).tolist() for count in (5, 3))
    return [*shared, *first], [*shared, *second]


@pytest.mark.parametrize("name", FRAMEWORK_OF)
def test_request_behind_a_snapshot_gets_the_tokens_it_gets_alone(name: str) -> None:
    subject, both = snapshots(name), prompts()
    alone = [subject.outputs(prompt, seat=2, num_tokens=NUM_TOKENS) for prompt in both]
    found = subject.continued(both, num_shared=NUM_SHARED, num_tokens=NUM_TOKENS)
    assert list(found) == alone


def test_request_behind_a_prefix_without_its_state_gets_other_tokens() -> None:
    subject, both = snapshots("oracle"), prompts()
    alone = subject.outputs(both[1], seat=2, num_tokens=NUM_TOKENS)
    _, found = subject.continued(
        both, num_shared=NUM_SHARED, num_tokens=NUM_TOKENS, is_copied=False
    )
    assert found != alone


@pytest.mark.parametrize(("num_blocks", "depth"), [(NUM_BLOCKS, 1), (NUM_BLOCKS, 2), (14, 2)])
def test_seats_change_hands_and_steps_run_ahead_without_another_token(
    num_blocks: int, depth: int
) -> None:
    draw = np.random.default_rng(3)
    given = [draw.integers(0, VOCAB_SIZE, length).tolist() for length in (9, 21, 4, 14, 17, 2, 11)]
    alone = [snapshots("oracle").outputs(each, seat=2, num_tokens=NUM_TOKENS) for each in given]
    toy = recurrent.program(TOY, limits=LIMITS)
    running = run_on(platform("oracle"), toy, RandomWeights(toy), num_blocks=num_blocks)
    engine = running.engine(vocab_size=VOCAB_SIZE, max_in_flight=depth)
    params = SamplingParams(temperature=0.0, max_tokens=NUM_TOKENS, ignore_eos=True)
    assert generate(engine, given, params) == alone
    assert (engine.stats.preemptions > 0) == (num_blocks == 14)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("name", FRAMEWORK_OF)
def test_prompts_go_on_from_kept_states_with_the_tokens_they_get_alone(
    name: str, depth: int
) -> None:
    subject = snapshots(name)
    engine = subject.running.engine(vocab_size=VOCAB_SIZE, max_in_flight=depth)
    first, second = prompts()
    third = [*first[:NUM_SHARED], 5, 6, 7]
    params = SamplingParams(temperature=0.0, max_tokens=NUM_TOKENS, ignore_eos=True)
    hits = []
    for prompt in (first, second, third, first):
        (found,) = generate(engine, [prompt], params)
        assert found == subject.outputs(prompt, seat=2, num_tokens=NUM_TOKENS)
        hits.append(engine.stats.prefix_hit_tokens)
    # The second finds blocks and no state behind them; one is kept there, for the third.
    assert hits == [0, 0, NUM_SHARED, NUM_SHARED + len(first) // 4 * 4]
    assert engine.stats.held_blocks == 0


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("name", ["oracle", "cpu", "emulated"])
def test_prompts_of_a_model_without_blocks_go_on_from_kept_states_alone(
    name: str, depth: int
) -> None:
    running = without_blocks(name)
    engine = running.engine(vocab_size=VOCAB_SIZE, max_in_flight=depth)
    plain = running.engine(vocab_size=VOCAB_SIZE, prefix_caching=False)
    first, second = prompts(4 * NUM_SHARED)
    third = [*first[: 4 * NUM_SHARED], 5, 6, 7]
    params = SamplingParams(temperature=0.0, max_tokens=NUM_TOKENS, ignore_eos=True)
    hits = []
    for prompt in (first, second, third, first):
        assert generate(engine, [prompt], params) == generate(plain, [prompt], params)
        hits.append(engine.stats.prefix_hit_tokens)
    assert plain.stats.prefix_hit_tokens == 0
    # What the prompts share ends with a block, and so does the last whole block of the first.
    assert hits == [0, 4 * NUM_SHARED, 8 * NUM_SHARED, 12 * NUM_SHARED]


@pytest.mark.parametrize(("name", "how_right"), FLOWN)
def test_drafts_in_flight_are_rolled_back_to_the_state_before_them(
    name: str, how_right: str
) -> None:
    subject = flights(name)
    plain = subject.plain()
    found = subject.fly("verify", depth=2, token_at=subject.drafts(plain, how_right=how_right))
    assert found.outputs == plain
    assert found.most_unread == 2


def test_platform_without_mixers_refuses_the_model_by_the_name_of_the_op() -> None:
    native = discover.load("cpu_native")
    if not native.probe().found:
        pytest.skip(native.probe().words)
    toy = recurrent.program(TOY, limits=LIMITS)
    with pytest.raises(CannotBind, match="'cpu_native' cannot run causal_conv"):
        run_on(native, toy, RandomWeights(toy))
