"""Choosing tokens: the same integers as the reference, ties to the lowest id, rows apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from octavo_platforms import philox as reference
from octavo_platforms.graph import TensorType
from octavo_platforms.specs import OpSpec
from octavo_torch.ops import philox
from octavo_torch.ops.choice import largest, sample

SPEC = OpSpec(op="sample", attrs=(), inputs=(), outputs=(TensorType((1,), "int32"),))


def settings(rows: list[tuple[float, int]]) -> torch.Tensor:
    words = [[np.float32(t).view(np.uint32), seed & 0xFFFFFFFF, seed >> 32] for t, seed in rows]
    return torch.from_numpy(np.array(words, np.uint32))


def test_words_are_those_of_the_reference() -> None:
    generator = np.random.default_rng(0)
    counter = generator.integers(0, 2**32, (200, 4), dtype=np.uint32)
    key = generator.integers(0, 2**32, (200, 2), dtype=np.uint32)
    words = torch.from_numpy(counter.astype(np.int64)).unbind(1)
    keys = torch.from_numpy(key.astype(np.int64)).unbind(1)
    found = torch.stack(philox.philox4x32(words, keys), 1)  # type: ignore[arg-type]
    assert np.array_equal(found.numpy(), reference.philox4x32(counter, key))


@pytest.mark.parametrize("vocab_size", [1, 7, 4096])
def test_noise_is_that_of_the_reference_to_the_bit(vocab_size: int) -> None:
    seeds = np.array([0, 1, 2**63 + 12345, 2**64 - 1], np.uint64)
    positions = np.array([0, 1, 131_071, 2**31 - 1], np.int32)
    words = torch.tensor([[int(s) & 0xFFFFFFFF, int(s) >> 32] for s in seeds])
    found = philox.gumbel(words, torch.from_numpy(positions), vocab_size)
    exact = reference.gumbel(seeds, positions, vocab_size)
    assert np.array_equal(found.numpy().view(np.uint32), exact.view(np.uint32))


def test_of_equal_logits_the_lowest_id_wins() -> None:
    scores = torch.zeros(3, 1000)
    scores[0, [7, 8, 999]] = 1.0
    scores[1, [999, 998]] = 2.0
    assert largest(scores).tolist() == [7, 998, 0]


def test_greedy_and_sampled_rows_of_one_step_do_not_touch_each_other() -> None:
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    rows = settings([(0.0, 9), (0.7, 5), (0.0, 5), (2.0, 2**40 + 1)])
    seats, positions = torch.tensor([3, 0, 1, 2]).int(), torch.tensor([8, 9, 10, 11]).int()
    run = sample(SPEC).run
    together = run(logits, rows, seats, positions)
    assert isinstance(together, torch.Tensor)
    assert together.dtype == torch.int32
    for row in range(4):
        one = slice(row, row + 1)
        alone = run(logits[one], rows, seats[one], positions[one])
        assert isinstance(alone, torch.Tensor)
        assert together[row] == alone[0]
    scores = logits[2].float().numpy() / np.float32(0.7) + reference.gumbel(5, 11, 50)
    assert together[2] == np.argmax(scores)
    assert together[1] == np.argmax(logits[1].float().numpy())


def test_a_step_without_rows_chooses_nothing() -> None:
    empty = torch.zeros(0, dtype=torch.int32)
    found = sample(SPEC).run(torch.zeros(0, 50), settings([(1.0, 1)]), empty, empty)
    assert isinstance(found, torch.Tensor)
    assert found.shape == (0,)
