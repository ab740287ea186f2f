"""One engine on two processes, by layers and by features: the tokens of one device.

A pipeline sends rows as they are, so its tokens are equal; sums over ranks round differently, so
those are held to the law.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from octavo.engine import Engine
from octavo.errors import DeviceError
from octavo.ranks.leader import Crew, Leader
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.testing import ranked
from octavo.testing.drive import Running, generate, run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.shares import BUILD, WEIGHT_SCALE, ToyShare
from octavo_platforms import discover

PLATFORM = "cpu"
TOY = "llama"
VOCAB_SIZE = 101
MAX_TOKENS = 16
BY_LAYERS = ToyShare(toy=TOY, platform=PLATFORM, way="layers")
BY_FEATURES = ToyShare(toy=TOY, platform=PLATFORM, way="features")
PROMPTS = ([3, 1, 4, 1, 5], [2, 7], [1] * 13, [60, 61, 62], [5, 5], [8] * 47, [9], [4, 4, 4])
SETTINGS = [
    SamplingParams(temperature=0.8 * (n % 2), seed=n, max_tokens=MAX_TOKENS)
    for n in range(len(PROMPTS))
]
# What rows want beyond temperature and seed, one thing each.
WISHES = [
    replace(SETTINGS[0], repetition_penalty=1.4),
    replace(SETTINGS[1], top_k=5, top_p=0.9),
    replace(SETTINGS[2], logprobs=3),
    replace(SETTINGS[3], logit_bias={7: 4.0}, min_tokens=3),
    SETTINGS[4],
    replace(SETTINGS[5], prompt_logprobs=2),
    replace(SETTINGS[6], presence_penalty=0.7),
    replace(SETTINGS[7], bad_token_ids=[[3, 4]], frequency_penalty=0.3),
]


def limits(*, num_stages: int = 1) -> Limits:
    sizes = ranked.LIMITS
    return Limits(
        max_context_tokens=sizes.max_blocks * sizes.block_size,
        num_blocks=ranked.NUM_BLOCKS,
        block_size=sizes.block_size,
        max_requests=sizes.max_requests,
        max_step_tokens=sizes.max_step_tokens,
        vocab_size=VOCAB_SIZE,
        num_stages=num_stages,
    )


@cache
def alone() -> Running:
    """Give the toy on one device."""
    whole = ranked.TOYS[TOY]()
    source = RandomWeights(whole, scale=WEIGHT_SCALE)
    return run_on(discover.load(PLATFORM), whole, source, num_blocks=ranked.NUM_BLOCKS)


def tokens_alone() -> list[list[int]]:
    return generate(alone().engine(vocab_size=VOCAB_SIZE), PROMPTS, WISHES)


def led(share: ToyShare, settings: Sequence[SamplingParams], *, depth: int = 2) -> list[list[int]]:
    """Give the tokens of the toy on two ranks, led by an engine in this process."""
    by_layers = share.way == "layers"
    crew = Crew(
        build=BUILD,
        arguments=[share.arguments] * 2,
        answering=1 if by_layers else 0,
        max_in_flight=depth,
    )
    with Leader(limits(num_stages=2 if by_layers else 1), crew) as leader:
        return generate(leader.engine(), PROMPTS, settings)


def assert_lawful(outputs: Sequence[Sequence[int]]) -> None:
    """Hold outputs against one device's logits, and the noise of each seed."""
    for prompt, params, output in zip(PROMPTS, SETTINGS, outputs, strict=True):
        assert len(output) == MAX_TOKENS
        held = alone().hold(
            prompt, output, temperature=params.temperature, seed=params.seed or 0, chunk=32
        )
        assert held.is_evidence
        assert held.wrong == ()


def test_the_first_stage_begins_a_step_before_the_last_has_ended_the_one_before(
    tmp_path: Path,
) -> None:
    watched = replace(BY_LAYERS, waits_in=str(tmp_path), waits_at=3)
    assert led(watched, WISHES) == tokens_alone()
    assert (tmp_path / "0.4").exists()


def test_with_one_step_on_its_way_no_stage_begins_the_next_meanwhile(tmp_path: Path) -> None:
    watched = replace(BY_LAYERS, waits_in=str(tmp_path), waits_at=3, patience_s=0.5)
    with pytest.raises(DeviceError, match="no stage began step 4 meanwhile"):
        led(watched, SETTINGS, depth=1)


def test_ranks_that_are_led_give_the_tokens_of_one() -> None:
    assert_lawful(led(BY_FEATURES, SETTINGS))


def test_a_rank_that_is_killed_in_the_middle_ends_the_step_and_the_other_ranks() -> None:
    crew = Crew(build=BUILD, arguments=[BY_FEATURES.arguments] * 2)
    with Leader(limits(), crew) as leader:
        engine = leader.engine()
        request = Request("a", [1, 2, 3], SamplingParams(max_tokens=100, ignore_eos=True))
        engine.add(request)
        for _ in range(3):
            engine.step()
        first, second = leader.worker_pids
        os.kill(second, signal.SIGKILL)
        with pytest.raises(DeviceError, match="the process of rank 1 was killed by SIGKILL"):
            run_dry(engine)
        assert request.finish_reason == "error"
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)


def run_dry(engine: Engine) -> None:
    while engine.has_work:
        engine.step()
