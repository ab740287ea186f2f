"""Two ranks give what one gives: toys in two processes, held against the oracle by the law."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypedDict, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pytest

from octavo.testing.drive import Running, run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.ranked import CHUNK, LIMITS, MISTAKES, NUM_BLOCKS, TEMPERATURES, TOYS
from octavo.testing.together import together
from octavo.testing.toys import cross, llama
from octavo_conformance import toy_encoders
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms import discover
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.loaded import Platform
from octavo_platforms.program import ProgramDef
from octavo_platforms.tolerance import gap_limit

RANKS = 2
MAX_TOKENS = 64
SEED = 2**40 + 7
VOCAB_SIZE = 101
MISTAKEN = "biased"

T = TypeVar("T")

Floats = npt.NDArray[np.floating]


class Made(TypedDict):
    logits: list[list[float]]
    tokens: list[list[int]]


class Answer(TypedDict):
    toys: dict[str, Made]
    mistakes: dict[str, list[list[float]]]


@dataclass(frozen=True, slots=True)
class Ranked:
    """What one rank found."""

    logits: Mapping[str, Floats]
    tokens: Mapping[str, Sequence[Sequence[int]]]
    mistakes: Mapping[str, Floats]


def prompts() -> list[list[int]]:
    draw = np.random.default_rng(3)
    return [draw.integers(0, VOCAB_SIZE, length).tolist() for length in (41, 3, 18)]


@cache
def on_ranks() -> list[Ranked]:
    found = together(
        "octavo.testing.ranked:run",
        ranks=RANKS,
        device="cpu",
        prompts=prompts(),
        max_tokens=MAX_TOKENS,
        seed=SEED,
        mistaken=MISTAKEN,
    )
    return [ranked(each) for each in cast(list[Answer], found)]


def ranked(answer: Answer) -> Ranked:
    toys, mistakes = answer["toys"], answer["mistakes"]
    return Ranked(
        {toy: np.asarray(made["logits"]) for toy, made in toys.items()},
        {toy: made["tokens"] for toy, made in toys.items()},
        {name: np.asarray(logits) for name, logits in mistakes.items()},
    )


def on_threads(
    program: ProgramDef, work: Callable[[Running], T], *, ranks: int, folder: Path
) -> list[T]:
    """Do some work on every rank, each a thread of this process."""
    meeting = f"file://{folder / 'meeting'}"

    def member(rank: int) -> T:
        settings = DeviceSettings(threads=1, rank=rank, ranks=ranks, rendezvous=meeting)
        weights, platform = RandomWeights(program), discover.load("cpu")
        return work(run_on(platform, program, weights, num_blocks=NUM_BLOCKS, settings=settings))

    with ThreadPoolExecutor(ranks) as pool:
        return list(pool.map(member, range(ranks)))


@cache
def oracle(toy: str) -> Running:
    program = TOYS[toy]()
    return run_on(
        Platform(OraclePlatform()), program, RandomWeights(program), num_blocks=NUM_BLOCKS
    )


def far_off(toy: str, found: Floats) -> bool:
    """Tell whether any row of logits is further from one rank's than a decided token allows."""
    exact = oracle(toy).logits(prompts()[0], chunk=CHUNK)
    error = np.abs(found - exact).max(axis=-1)
    return bool((error > [gap_limit(row, "float32") for row in exact]).any())


@pytest.mark.parametrize("toy", TOYS)
def test_logits_are_those_of_one_rank(toy: str) -> None:
    for found in on_ranks():
        assert not far_off(toy, found.logits[toy])


@pytest.mark.parametrize("toy", TOYS)
def test_every_rank_has_the_same_bits(toy: str) -> None:
    first, second = on_ranks()
    assert np.array_equal(first.logits[toy], second.logits[toy])
    assert first.tokens[toy] == second.tokens[toy]


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("toy", TOYS)
def test_tokens_are_those_of_one_rank(toy: str, temperature: float) -> None:
    first = TEMPERATURES.index(temperature) * len(prompts())
    found = on_ranks()[0].tokens[toy][first : first + len(prompts())]
    for prompt, output in zip(prompts(), found, strict=True):
        assert len(output) == MAX_TOKENS
        held = oracle(toy).hold(prompt, output, temperature=temperature, seed=SEED, chunk=CHUNK)
        assert held.is_evidence
        assert held.wrong == ()


@pytest.mark.parametrize(("ranks", "kv_heads"), [(3, 3), (6, 2), (3, 1)])
def test_more_ranks_in_one_process_agree_with_one(
    ranks: int, kv_heads: int, tmp_path: Path
) -> None:
    spec = replace(llama.spec(), kv_heads=kv_heads, ffn_width=66)
    program = llama.program(spec, limits=LIMITS)
    alone = run_on(
        Platform(OraclePlatform()), program, RandomWeights(program), num_blocks=NUM_BLOCKS
    )
    exact = alone.logits(prompts()[0], chunk=CHUNK)
    for found in on_threads(
        program,
        lambda running: running.logits(prompts()[0], chunk=CHUNK),
        ranks=ranks,
        folder=tmp_path,
    ):
        error = np.abs(found - exact).max(axis=-1)
        assert (error <= [gap_limit(row, "float32") for row in exact]).all()


def test_source_is_seen_whole_by_the_heads_of_each_rank(tmp_path: Path) -> None:
    program = cross.program(toy_encoders.TOY, limits=toy_encoders.LIMITS)
    sources = [toy_encoders.ids(f"source {size}", size) for size in toy_encoders.SOURCES]
    given = [toy_encoders.ids(f"prompt {size}", size) for size in toy_encoders.PROMPTS]
    exact = toy_encoders.crossing(Platform(OraclePlatform())).decode(sources, given)
    found = on_threads(
        program,
        lambda running: toy_encoders.Crossing(running).decode(sources, given),
        ranks=RANKS,
        folder=tmp_path,
    )
    assert found == [exact] * RANKS


def test_each_mistake_in_the_view_of_a_rank_is_noticed() -> None:
    for rank in on_ranks():
        noticed = {name for name, logits in rank.mistakes.items() if far_off(MISTAKEN, logits)}
        assert noticed == MISTAKES.keys() - {"none"}
