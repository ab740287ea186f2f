"""Cross attention: every token of a request looks at all that an encoder left for it.

Knows nothing of layouts but [B, P, K, D].
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from octavo_conformance.oracle.attention import Planes, attend, kv_read
from octavo_conformance.oracle.values import Floats, Ints


def cross_attention(
    q: Floats,
    query_starts: Ints,
    lengths: Ints,
    block_table: Ints,
    state: Planes,
    *,
    scale: float,
) -> Floats:
    """Attend each token to its request's whole encoder output; without any, give zeros.

    Shapes: q [T, H, D]; query_starts [R+1]; lengths [R]; block_table [R, M]; returns [T, H, D].
    """
    block_size = state[0].shape[1]
    found = np.zeros_like(q)
    for request, (start, stop) in enumerate(pairwise(query_starts)):
        seen = np.arange(lengths[request])
        if start == stop or not len(seen):
            continue
        slots = block_table[request, seen // block_size] * block_size + seen % block_size
        keys, values = kv_read(slots.astype(np.int32), state)
        for token in range(start, stop):
            at = slice(token, token + 1)
            found[at] = attend(q[at], keys, values, first=len(seen) - 1, scale=scale)
    return found
