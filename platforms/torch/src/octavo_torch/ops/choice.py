"""Choosing tokens: the largest logit, or the largest after noise.

Only rows with a temperature above 0 pay for noise. Which of equal numbers torch's `argmax`
gives is not said, so the lowest id is asked for.

Knows nothing of requests: a row's token follows from its logits, seat and position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec
from octavo_torch.ops.philox import gumbel

Largest = Callable[[Tensor], Tensor]

# Noise is drawn for a few rows at a time: its 64-bit words of a large step would not fit a cache,
# and of a large vocabulary not always memory.
NUMBERS_AT_ONCE = 1 << 18


def largest(scores: Tensor) -> Tensor:
    """Give the lowest id among the largest scores, -1 where the largest is not a finite number.

    Shapes: float32 [S, V]; returns int32 [S].
    """
    ids = torch.arange(scores.shape[1], dtype=torch.int32, device=scores.device)
    top = scores.amax(-1, keepdim=True)
    last = scores.shape[1] - 1
    return torch.where(scores == top, ids, last).amin(-1).masked_fill(~top[:, 0].isfinite(), -1)


def sample(spec: OpSpec, *, name: str = "torch.sample", largest: Largest = largest) -> Kernel:
    """Choose by settings that seats keep, with a way to find the largest of each row."""

    def run(logits: Tensor, settings: Tensor, seats: Tensor, positions: Tensor) -> Tensor:
        words = settings.view(torch.int32).index_select(0, seats)
        temperatures = words[:, 0].contiguous().view(torch.float32)
        hot = temperatures.nonzero()[:, 0]
        chosen = largest(logits.float())
        at_once = max(1, NUMBERS_AT_ONCE // logits.shape[1])
        for start in range(0, hot.shape[0], at_once):
            rows = hot[start : start + at_once]
            chosen[rows] = largest(
                noisy(logits[rows], temperatures[rows], words[rows], positions[rows])
            )
        return chosen

    return Kernel(name=name, run=run)


def sample_all(spec: OpSpec) -> Kernel:
    """Choose with noise for every row: for devices that the host must not wait for.

    Which rows have a temperature is known to the device alone, so a greedy row pays too.
    """

    def run(logits: Tensor, settings: Tensor, seats: Tensor, positions: Tensor) -> Tensor:
        words = settings.view(torch.int32).index_select(0, seats)
        temperatures = words[:, 0].contiguous().view(torch.float32)
        is_hot = temperatures != 0
        divisors = torch.where(is_hot, temperatures, 1.0)
        at_once = max(1, NUMBERS_AT_ONCE // logits.shape[1])
        chosen = []
        for start in range(0, logits.shape[0], at_once):
            rows = slice(start, start + at_once)
            drawn = noisy(logits[rows], divisors[rows], words[rows], positions[rows])
            scores = torch.where(is_hot[rows, None], drawn, logits[rows].float())
            chosen.append(largest(scores))
        return torch.cat(chosen)

    return Kernel(name="torch.sample_all", run=run)


def noisy(logits: Tensor, temperatures: Tensor, words: Tensor, positions: Tensor) -> Tensor:
    """Make logits / temperature + noise. Shapes: [S, V], [S], [S, 3], [S]; returns [S, V]."""
    scores = logits.float() / temperatures[:, None]
    return scores.add_(gumbel(words[:, 1:].long(), positions + 1, logits.shape[1]))


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType({"sample": sample})
WITHOUT_WAITING: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType({"sample": sample_all})
