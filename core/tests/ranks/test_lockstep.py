"""Ranks that agree on each launch, as threads of one process, over the model without weights."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from octavo.errors import DeviceError
from octavo.heart import GROUP, heart
from octavo.ranks.lockstep import LockStep
from octavo.ranks.waves import Waves
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.testing.null import NullPending, NullProgram, by_hand
from octavo_platforms.inputs import StepInputs

VOCAB_SIZE = 71
PLENTY_S = 60.0
LIMITS = Limits(
    max_context_tokens=40,
    num_blocks=40,
    block_size=4,
    max_requests=4,
    max_step_tokens=8,
    vocab_size=VOCAB_SIZE,
)


@contextmanager
def two(folder: Path, *, patience_s: float = PLENTY_S) -> Iterator[tuple[Waves, Waves]]:
    addresses = [f"ipc://{folder}/{rank}" for rank in range(2)]
    first, second = (
        Waves(rank=rank, addresses=addresses, patience_s=patience_s) for rank in range(2)
    )
    try:
        yield first, second
    finally:
        first.close()
        second.close()


class Seen(NullProgram):
    """The model without weights, and the numbers that its launches were told."""

    def __init__(self) -> None:
        super().__init__(LIMITS)
        self.told: list[tuple[int, ...] | None] = []
        self.lengths: list[int] = []

    def launch(self, inputs: StepInputs) -> NullPending:
        self.told.append(inputs.shape.rank_tokens)
        self.lengths.append(len(inputs.token_ids))
        return super().launch(inputs)


def serve(
    program: Seen, waves: Waves, prompts: list[list[int]], max_tokens: int
) -> list[list[int]]:
    """Run an engine's own requests, then take part until nobody has work."""
    together = LockStep(program, waves, together=["step"], groups=[GROUP])
    engine = heart(together, LIMITS).engine()
    params = SamplingParams(temperature=0.0, max_tokens=max_tokens)
    requests = [Request(f"{n}", prompt, params) for n, prompt in enumerate(prompts)]
    for request in requests:
        engine.add(request)
    while engine.has_work:
        engine.step()
    waves.rest()
    while True:
        if waves.is_called(wait_s=0.01):
            together.take_part()
        elif waves.are_others_resting and not waves.is_called():
            return [request.output_ids for request in requests]


def test_engines_in_lock_step_give_their_tokens_and_launch_equally_often(tmp_path: Path) -> None:
    prompts = ([[3, 1, 4], [1] * 11, [5]], [[2, 7]])
    lengths = (14, 3)
    programs = Seen(), Seen()
    with two(tmp_path) as waves, ThreadPoolExecutor() as threads:
        found = list(threads.map(serve, programs, waves, prompts, lengths))
    for own, outputs, most in zip(prompts, found, lengths, strict=True):
        right = [by_hand(prompt, num_tokens=most, vocab_size=VOCAB_SIZE) for prompt in own]
        assert outputs == right
    first, second = programs
    assert first.told == second.told
    assert first.lengths == second.lengths == [max(told or ()) for told in first.told]
    assert 0 in (first.told[-1] or ())


def test_a_rank_is_called_by_the_vote_of_another(tmp_path: Path) -> None:
    with two(tmp_path) as (first, second), ThreadPoolExecutor() as threads:
        assert not first.is_called()
        asked = threads.submit(second.agree, 5)
        assert first.is_called(wait_s=PLENTY_S)
        assert first.agree(0) == (0, 5)
        assert asked.result() == (0, 5)
        assert not first.is_called()


def test_a_vote_for_the_next_wave_that_comes_early_is_kept(tmp_path: Path) -> None:
    def votes(waves: Waves) -> list[tuple[int, ...]]:
        return [waves.agree(number) for number in range(200)]

    with two(tmp_path) as waves, ThreadPoolExecutor() as threads:
        first, second = threads.map(votes, waves)
    assert first == second == [(number, number) for number in range(200)]


def test_a_rank_that_stays_silent_is_an_error_that_names_it(tmp_path: Path) -> None:
    silence = r"the ranks \[1\] were silent for 0\.1 s"
    with two(tmp_path, patience_s=0.1) as (first, _), pytest.raises(DeviceError, match=silence):
        first.agree(3)


class Broken(Seen):
    """Fails in its second launch."""

    def launch(self, inputs: StepInputs) -> NullPending:
        if self.told:
            raise MemoryError("no room")
        return super().launch(inputs)


def test_a_rank_that_fails_ends_the_launches_of_the_others_with_its_words(tmp_path: Path) -> None:
    with two(tmp_path) as waves, ThreadPoolExecutor() as threads:
        well = threads.submit(serve, Seen(), waves[0], [[1, 2]], 9)
        broken = threads.submit(serve, Broken(), waves[1], [[1, 2]], 9)
        with pytest.raises(MemoryError):
            broken.result()
        with pytest.raises(DeviceError, match="rank 1 failed: MemoryError: no room"):
            well.result()


def test_a_rank_that_rests_takes_part_all_the_same(tmp_path: Path) -> None:
    with two(tmp_path) as (first, second), ThreadPoolExecutor() as threads:
        assert not first.are_others_resting
        second.rest()
        asked = threads.submit(first.agree, 2)
        assert second.is_called(wait_s=PLENTY_S)
        assert second.agree(0) == (2, 0)
        assert asked.result() == (2, 0)
        assert first.are_others_resting


def test_a_program_whose_step_does_not_talk_cannot_launch_together(tmp_path: Path) -> None:
    with two(tmp_path) as (first, _), pytest.raises(DeviceError, match="'step' or 'forward'"):
        LockStep(NullProgram(LIMITS), first, together=["sample"], groups=[GROUP])
