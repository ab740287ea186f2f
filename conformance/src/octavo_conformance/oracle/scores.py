"""Logits beside the choice: forbidding tokens, and telling how likely some were.

Knows nothing of who asks.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.oracle.values import Floats, Ints, Words
from octavo_platforms import shaping


def mask_logits(logits: Floats, mask: Words) -> Floats:
    """Forbid ids whose bit is not set. Shapes: [S, V], [S, ceil(V/32)]; returns [S, V]."""
    found = np.full_like(logits, -np.inf)
    for row, words in enumerate(mask):
        for index in range(logits.shape[1]):
            if int(words[index // 32]) >> index % 32 & 1:
                found[row, index] = logits[row, index]
    return found


def score(logits: Floats, ids: Ints) -> tuple[Floats, Ints]:
    """Tell how likely ids are. Shapes: [Q, V], [Q]; returns logprob [Q], rank [Q]."""
    own = np.take_along_axis(logits, ids[:, None].astype(np.int64), axis=1)
    largest = np.max(logits, axis=1, keepdims=True)
    total = largest + np.log(np.sum(np.exp(logits - largest), axis=1, keepdims=True))
    return (own - total)[:, 0], np.sum(logits > own, axis=1).astype(np.int32)


def most_likely(logits: Floats, *, count: int) -> tuple[Ints, Floats]:
    """Find the likeliest ids of each row. Shapes: [S, V]; returns ids, logprobs [S, L]."""
    return shaping.most_likely(logits, count)
