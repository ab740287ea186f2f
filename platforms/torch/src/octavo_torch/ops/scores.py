"""Logits beside the choice: forbidding tokens, and telling how likely some were.

Knows nothing of who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from octavo_platforms.ops.op import integer
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec

WORD_BITS = 32


def mask_logits(logits: Tensor, mask: Tensor) -> Tensor:
    """Forbid ids whose bit is not set. Shapes: [S, V], uint32 [S, ceil(V/32)]; returns [S, V]."""
    bits = torch.arange(WORD_BITS, dtype=torch.int32, device=logits.device)
    is_set = ((mask.view(torch.int32)[:, :, None] >> bits) & 1).flatten(1)[:, : logits.shape[1]]
    return logits.masked_fill(is_set == 0, float("-inf"))


def score(logits: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Tell how likely ids are. Shapes: [Q, V], [Q]; returns logprob [Q], rank [Q]."""
    wide = logits.float()
    own = wide.gather(1, ids.long().clamp_(min=0)[:, None])
    logprob = own[:, 0] - wide.logsumexp(1)
    return logprob, (wide > own).sum(1, dtype=torch.int32)


def most_likely(spec: OpSpec) -> Kernel:
    """Find the likeliest ids of each row; of equal ones the lowest, which torch does not say."""
    count = integer(dict(spec.attrs), "count")

    def run(logits: Tensor) -> tuple[Tensor, Tensor]:
        wide = logits.float()
        bits = (wide + 0.0).view(torch.int32)
        keys = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long() << 32
        keys -= torch.arange(wide.shape[1], device=wide.device)
        ids = keys.topk(count).indices
        logprobs = wide.gather(1, ids) - wide.logsumexp(1, keepdim=True)
        return ids.int(), logprobs

    return Kernel(name="torch.most_likely", run=run)


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "mask_logits": lambda spec: Kernel(name="torch.mask_logits", run=mask_logits),
        "score": lambda spec: Kernel(name="torch.score", run=score),
        "most_likely": most_likely,
    }
)
