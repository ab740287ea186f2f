"""Encoders: attention both ways within a request, and the mean of its rows.

Knows nothing of pages.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from octavo_conformance.oracle.attention import attend
from octavo_conformance.oracle.values import Floats, Ints


def encoder_attention(
    q: Floats,
    k: Floats,
    v: Floats,
    query_starts: Ints,
    *,
    scale: float,
    num_kv_heads: int,
    before: int | None = None,
    after: int | None = None,
) -> Floats:
    """Attend each token to its own request: to all of it, or so many tokens before and after.

    Shapes: q [T, H, D]; k and v [T, K, D]; query_starts [R+1]; returns [T, H, D].
    """
    found = np.zeros_like(q)
    for start, stop in pairwise(query_starts.tolist()):
        for token in range(start, stop):
            first = start if before is None else max(start, token - before)
            end = stop if after is None else min(stop, token + after + 1)
            at, seen = slice(token, token + 1), slice(first, end)
            found[at] = attend(q[at], k[seen], v[seen], first=end - first - 1, scale=scale)
    return found


def mean_rows(x: Floats, query_starts: Ints) -> Floats:
    """Give each request's mean. Shapes: x [T, E]; query_starts [R+1]; returns [R, E]."""
    found = np.zeros((len(query_starts) - 1, x.shape[1]))
    for request, (start, stop) in enumerate(pairwise(query_starts)):
        if start < stop:
            found[request] = np.mean(x[start:stop], axis=0)
    return found
