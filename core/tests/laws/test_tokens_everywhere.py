"""The laws of tokens in four places: one and two launches in flight, here and across a process.

The model without weights runs behind all of them, so the right tokens are computed by hand. Each
law is held with sizes that make it matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from octavo.asking import SamplingParams
from octavo.engine import Stats
from octavo.outputs import RequestOutput
from octavo.prompts import NamedPrompt
from octavo.testing.loaded import VOCAB_SIZE
from octavo.testing.null import by_hand
from octavo.testing.places import Place, Where, opened, sizes
from octavo.testing.sick import SICK, SICK_AT

DEPTHS = (1, 2)
PLACES = [(where, depth) for where in ("here", "across") for depth in DEPTHS]
everywhere = pytest.mark.parametrize(("where", "depth"), PLACES)
NUM_TOKENS = 20
ROOMY, SCARCE = 150, 17


class Opener:
    """Opens places, each once; those that are open are taken again."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._open: dict[object, Place] = {}

    def __call__(self, where: Where, depth: int, **wanted: int) -> Place:
        key = (where, depth, *wanted.items())
        if key not in self._open:
            asked = sizes(self._folder, depth=depth, **{"blocks": ROOMY, **wanted})  # type: ignore[arg-type]
            self._open[key] = self._stack.enter_context(opened(where, asked))
        return self._open[key]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opener]:
    with ExitStack() as stack:
        yield Opener(tmp_path_factory.mktemp("model"), stack)


def prompts() -> list[list[int]]:
    """Give nine prompts, some with the same beginning, two whose first blocks differ at the end."""
    stems = [[50, 60, 70] * (number % 4) for number in range(7)]
    several = [[*stem, *range(10 + number, 11 + 2 * number)] for number, stem in enumerate(stems)]
    return [*several, [7, 7, 7, 1, 9, 9], [7, 7, 7, 2, 9, 9]]


def settings(number: int) -> SamplingParams:
    """Give what the number-th prompt is sampled by: some are greedy, each has a seed."""
    temperature = 0.6 * (number % 3)
    return SamplingParams(
        temperature=temperature, seed=number, max_tokens=NUM_TOKENS, ignore_eos=True
    )


def right(number: int) -> list[int]:
    params = settings(number)
    assert params.seed is not None
    return by_hand(
        prompts()[number],
        num_tokens=NUM_TOKENS,
        vocab_size=VOCAB_SIZE,
        temperature=params.temperature,
        seed=params.seed,
    )


def run(place: Place, numbers: Sequence[int]) -> list[RequestOutput]:
    """Run some of the prompts together."""
    given: list[NamedPrompt] = [{"prompt_token_ids": prompts()[number]} for number in numbers]
    return place.generate(given, [settings(number) for number in numbers])


def tokens(found: Sequence[RequestOutput]) -> list[list[int]]:
    return [each.outputs[0].token_ids for each in found]


EVERY = range(len(prompts()))
RIGHT = [right(number) for number in EVERY]


def check_rest(stats: Stats, *, blocks: int) -> None:
    """Check that whoever ran gave everything back."""
    assert (stats.running, stats.waiting, stats.held_blocks) == (0, 0, 0)
    assert stats.free_blocks + stats.remembered_blocks == blocks - 1


@everywhere
def test_batch_mates_change_no_token(place: Opener, where: Where, depth: int) -> None:
    one = place(where, depth, prefix_caching=False)
    alone = [tokens(run(one, [number]))[0] for number in EVERY]
    assert tokens(run(one, EVERY)) == alone == RIGHT


@everywhere
def test_the_size_of_a_chunk_changes_no_token(place: Opener, where: Where, depth: int) -> None:
    small = place(where, depth, step_tokens=6, prefix_caching=False)
    assert tokens(run(small, EVERY)) == RIGHT


@everywhere
def test_prefix_hits_change_no_token(place: Opener, where: Where, depth: int) -> None:
    one = place(where, depth)
    assert tokens(run(one, EVERY)) == RIGHT
    before = one.stats().prefix_hit_tokens
    again = run(one, EVERY)
    assert tokens(again) == RIGHT
    assert one.stats().prefix_hit_tokens > before + 20
    assert any(each.num_cached_tokens for each in again)


@everywhere
def test_preemption_changes_no_token(place: Opener, where: Where, depth: int) -> None:
    scarce = place(where, depth, blocks=SCARCE)
    before = scarce.stats().preemptions
    assert tokens(run(scarce, EVERY)) == RIGHT
    assert scarce.stats().preemptions > before


@pytest.mark.parametrize("where", ["here", "across"])
def test_depth_changes_no_token(place: Opener, where: Where) -> None:
    found = [tokens(run(place(where, depth, blocks=SCARCE), EVERY)) for depth in (1, 2, 3)]
    assert found == [RIGHT] * 3


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_process_boundary_changes_no_token_and_no_text(place: Opener, depth: int) -> None:
    here, across = (run(place(where, depth), EVERY) for where in ("here", "across"))
    assert [each.outputs for each in here] == [each.outputs for each in across]
    assert tokens(here) == RIGHT


@everywhere
def test_nothing_leaks(place: Opener, where: Where, depth: int) -> None:
    """Not even after somebody was preempted, and somebody else got no token."""
    scarce = place(where, depth, blocks=SCARCE)
    for _ in range(2):
        run(scarce, EVERY)
        check_rest(scarce.stats(), blocks=SCARCE)
    sick: list[NamedPrompt] = [{"prompt_token_ids": [first, 3, 5]} for first in (SICK, 8, SICK)]
    found = scarce.generate(sick, [settings(0)] * 3)
    assert [each.outputs[0].finish_reason for each in found] == ["error", "length", "error"]
    check_rest(scarce.stats(), blocks=SCARCE)


@everywhere
def test_who_gets_no_token_ends_alone(place: Opener, where: Where, depth: int) -> None:
    one = place(where, depth)
    before = one.stats().corrupted
    given: list[NamedPrompt] = [{"prompt_token_ids": [SICK, 3]}]
    given += [{"prompt_token_ids": prompts()[number]} for number in EVERY]
    sick, *sound = one.generate(given, [settings(0), *map(settings, EVERY)])
    assert sick.outputs[0].finish_reason == "error"
    assert len(sick.outputs[0].token_ids) == SICK_AT - 2
    assert tokens(sound) == RIGHT
    assert one.stats().corrupted == before + 1
