"""Shaping logits before the choice: biases, penalties, and cuts by how likely an id is.

A cut is one threshold a row, found by halving the range of float32 bits, in the order of the
numbers they mean: no sort, no sum in sequence, and equal logits stay or go together.

Knows nothing of who asked. Only a device that the host may not wait for pays for rows that want
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec

_HALVINGS = 33
_FORBIDDEN = float("-inf")


def bias_logits(logits: Tensor, ids: Tensor, values: Tensor) -> Tensor:
    """Add values at ids. Shapes: [S, V], [S, B], [S, B]; returns [S, V]."""
    return logits.scatter_add(1, ids.long(), values)


def penalise_logits(
    logits: Tensor, history: Tensor, spans: Tensor, last: Tensor, penalties: Tensor
) -> Tensor:
    """Move the logits of what a context holds.

    Shapes: [S, V], [S, H], [S, 2], [S], [S, 3]; returns [S, V].
    """
    num_known, num_prompt = spans[:, :1], spans[:, 1:]
    places = torch.arange(history.shape[1], dtype=torch.int32, device=logits.device)
    places = torch.cat([places.expand(history.shape), num_known], 1)
    is_there = places < num_known
    is_there[:, -1] = True
    context = torch.cat([history, last[:, None]], 1).long()
    seen = torch.zeros_like(logits).scatter_add_(1, context, is_there.float())
    made = (is_there & (places >= num_prompt)).float()
    counts = torch.zeros_like(logits).scatter_add_(1, context, made)
    repetition, presence, frequency = penalties.unbind(1)
    repetition = repetition[:, None]
    repeated = torch.where(logits > 0, logits / repetition, logits * repetition)
    found = torch.where(seen > 0, repeated, logits)
    found.sub_(counts * frequency[:, None])
    return found.sub_((counts > 0) * presence[:, None])


def penalise_some(spec: OpSpec) -> Kernel:
    """Penalise only the rows that ask for it, which the host may look up."""

    def run(
        logits: Tensor, history: Tensor, spans: Tensor, last: Tensor, penalties: Tensor
    ) -> Tensor:
        neutral = penalties.new_tensor([1.0, 0.0, 0.0])
        rows = (penalties != neutral).any(1).nonzero()[:, 0]
        if not len(rows):
            return logits
        found = logits.clone()
        found[rows] = penalise_logits(
            logits[rows], history[rows], spans[rows], last[rows], penalties[rows]
        )
        return found

    return Kernel(name="torch.penalise_some", run=run)


def truncate_logits(
    logits: Tensor, settings: Tensor, seats: Tensor, top_k: Tensor, cuts: Tensor
) -> Tensor:
    """Forbid what is too unlikely. Shapes: [S, V], [N, 3], [S], [S], [S, 2]; returns [S, V]."""
    divisors = _temperatures(settings, seats)
    return _truncated(logits, divisors, top_k, cuts)


def truncate_some(spec: OpSpec) -> Kernel:
    """Cut only the rows that ask for it, which the host may look up."""

    def run(logits: Tensor, settings: Tensor, seats: Tensor, top_k: Tensor, cuts: Tensor) -> Tensor:
        divisors = _temperatures(settings, seats)
        is_cut = (top_k > 0) | (cuts[:, 0] < 1) | (cuts[:, 1] > 0)
        rows = (is_cut & (divisors > 0)).nonzero()[:, 0]
        if not len(rows):
            return logits
        found = logits.clone()
        found[rows] = _truncated(logits[rows], divisors[rows], top_k[rows], cuts[rows])
        return found

    return Kernel(name="torch.truncate_some", run=run)


def _temperatures(settings: Tensor, seats: Tensor) -> Tensor:
    words = settings.view(torch.int32).index_select(0, seats)
    return words[:, 0].contiguous().view(torch.float32)


def _truncated(logits: Tensor, temperatures: Tensor, top_k: Tensor, cuts: Tensor) -> Tensor:
    is_hot = (temperatures > 0)[:, None]
    scores = logits / torch.where(is_hot, temperatures[:, None], 1.0)
    keys = _ordered(scores)
    shares = torch.exp(scores - scores.amax(1, keepdim=True))
    top_p, min_p = cuts[:, :1], cuts[:, 1:]
    kept = shares >= min_p

    def likelier(key: Tensor) -> Tensor:
        return (keys > key).sum(1, keepdim=True)

    most = torch.where(top_k > 0, top_k, logits.shape[1])[:, None]
    kept &= keys >= _least(keys, lambda key: likelier(key) < most)
    left = torch.where(kept, shares, 0.0)
    limit = torch.where(top_p < 1, top_p * left.sum(1, keepdim=True), torch.inf)

    def share_above(key: Tensor) -> Tensor:
        return (left * (keys > key)).sum(1, keepdim=True)

    kept &= keys >= _least(keys, lambda key: share_above(key) < limit)
    return torch.where(kept | ~is_hot, logits, _FORBIDDEN)


def _ordered(scores: Tensor) -> Tensor:
    """Give integers in the order of the numbers, equal where those are. Shapes: [S, V]; as is."""
    bits = (scores + 0.0).view(torch.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def _least(keys: Tensor, is_enough: Callable[[Tensor], Tensor]) -> Tensor:
    """Give the least key that is enough, by halving; the largest of a row always is.

    Shapes: int32 [S, V]; returns [S, 1].
    """
    low = torch.full((len(keys), 1), torch.iinfo(torch.int32).min, device=keys.device)
    high = keys.amax(1, keepdim=True).long()
    for _ in range(_HALVINGS):
        middle = (low + high) >> 1
        enough = is_enough(middle.int())
        high = torch.where(enough, middle, high)
        low = torch.where(enough, low, middle)
    return high.int()


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "bias_logits": lambda spec: Kernel(name="torch.bias_logits", run=bias_logits),
        "penalise_logits": penalise_some,
        "truncate_logits": truncate_some,
    }
)
WITHOUT_WAITING: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "penalise_logits": lambda spec: Kernel(name="torch.penalise_logits", run=penalise_logits),
        "truncate_logits": lambda spec: Kernel(name="torch.truncate_logits", run=truncate_logits),
    }
)
