"""Windows on every platform that is here: blocks are given back, and no token changes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from octavo import SamplingParams
from octavo.request import Request
from octavo.testing.drive import Running, generate, run_on, run_view
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama, windows
from octavo.testing.toys.zoo import LIMITS, NUM_BLOCKS, VOCAB_SIZE
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms import discover
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.loaded import Platform

FRAMEWORK_OF = {"cpu": "torch", "jax": "jax", "emulated": "torch", "cpu_native": None}
MAX_TOKENS = 20
PARAMS = SamplingParams(temperature=0.0, max_tokens=MAX_TOKENS, ignore_eos=True)
TOY = windows.program(llama.spec(), limits=LIMITS)


def platform(name: str) -> Platform:
    if framework := FRAMEWORK_OF[name]:
        pytest.importorskip(framework)
    found = discover.load(name)
    if not found.probe().found:
        pytest.skip(found.probe().words)
    return found


def prompts() -> Sequence[Sequence[int]]:
    draw = np.random.default_rng(7)
    shared = draw.integers(0, VOCAB_SIZE, 13).tolist()
    return [[*shared, *draw.integers(0, VOCAB_SIZE, count).tolist()] for count in (25, 3, 8)]


@cache
def whole() -> Running:
    """Give the toy as it was written: one group, whose blocks are all kept."""
    oracle = Platform(OraclePlatform())
    opening = DeviceSettings()
    return run_view(
        oracle, TOY, RandomWeights(TOY), num_blocks=NUM_BLOCKS, settings=opening, groups=[]
    )


@cache
def outputs() -> list[list[int]]:
    return generate(whole().engine(vocab_size=VOCAB_SIZE), prompts(), PARAMS)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("name", FRAMEWORK_OF)
def test_tokens_are_those_of_the_program_that_keeps_every_block(name: str, depth: int) -> None:
    running = run_on(platform(name), TOY, RandomWeights(TOY), num_blocks=NUM_BLOCKS)
    assert [state.kind for state in running.definition.states] == ["paged", "window"]
    engine = running.engine(vocab_size=VOCAB_SIZE, max_in_flight=depth)
    assert generate(engine, prompts(), PARAMS) == outputs()
    assert generate(engine, prompts()[:1], PARAMS) == outputs()[:1]
    assert engine.stats.prefix_hit_tokens > 0
    assert engine.stats.held_blocks == 0


def test_a_request_holds_of_a_window_what_it_reaches_and_not_its_whole_context() -> None:
    running = run_on(Platform(OraclePlatform()), TOY, RandomWeights(TOY), num_blocks=NUM_BLOCKS)
    assert whole().definition.states[0].layers == 2
    found = [_held(each, prompts()[0]) for each in (whole(), running)]
    # Two tokens are not computed before the last step: that step's, and the one it makes.
    num_whole = -(-(len(prompts()[0]) + MAX_TOKENS - 2) // LIMITS.block_size)
    assert found == [num_whole, num_whole + 2]


def _held(running: Running, prompt: Sequence[int]) -> int:
    """Give the blocks that a request holds before it gets its last token."""
    engine = running.engine(vocab_size=VOCAB_SIZE)
    held: list[int] = []
    engine.add(Request("long", prompt, PARAMS))
    while engine.has_work:
        held.append(engine.stats.held_blocks)
        engine.step()
    return held[-1]
