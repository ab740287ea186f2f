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


def largest(scores: Tensor) -> Tensor:
    """Give the lowest id among the largest scores. Shapes: float32 [S, V]; returns int32 [S]."""
    ids = torch.arange(scores.shape[1], dtype=torch.int32, device=scores.device)
    is_top = scores == scores.amax(-1, keepdim=True)
    last = scores.shape[1] - 1
    return torch.where(is_top, ids, last).amin(-1)


def sample(spec: OpSpec, *, name: str = "torch.sample", largest: Largest = largest) -> Kernel:
    """Choose by settings that seats keep, with a way to find the largest of each row."""

    def run(logits: Tensor, settings: Tensor, seats: Tensor, positions: Tensor) -> Tensor:
        words = settings.view(torch.int32).index_select(0, seats)
        temperatures = words[:, 0].contiguous().view(torch.float32)
        hot = temperatures.nonzero()[:, 0]
        if len(hot) == 0:
            return largest(logits.float())
        if len(hot) == len(seats):
            return largest(noisy(logits, temperatures, words, positions))
        chosen = largest(logits.float())
        chosen[hot] = largest(noisy(logits[hot], temperatures[hot], words[hot], positions[hot]))
        return chosen

    return Kernel(name=name, run=run)


def noisy(logits: Tensor, temperatures: Tensor, words: Tensor, positions: Tensor) -> Tensor:
    """Make logits / temperature + noise. Shapes: [S, V], [S], [S, 3], [S]; returns [S, V]."""
    scores = logits.float() / temperatures[:, None]
    return scores.add_(gumbel(words[:, 1:].long(), positions + 1, logits.shape[1]))


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType({"sample": sample})
