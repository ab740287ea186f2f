"""Paged states: writing keys and values, reading them back, attending to them.

`attend` is attention without pages: one request, its context in order. Everything else only
says where that context lies. Knows nothing of layouts but [B, P, K, D].
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.oracle.rope import rotary
from octavo_conformance.oracle.values import Floats, Ints

Planes = tuple[Floats, Floats]


def attend(
    q: Floats,
    keys: Floats,
    values: Floats,
    *,
    first: int,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Floats | None = None,
    slopes: Floats | None = None,
) -> Floats:
    """Attend each token of one request to positions up to its own, the last `window` of them.

    Shapes: q [Q, H, D], at positions first, first + 1, ...; keys [C, K, D] and values
        [C, K, D'], in the order of positions; returns [Q, H, D']. Query head h reads KV head
        h * K // H. Sinks and slopes, where there are some, are [H].
    Source: sinks, arXiv 2309.17453 and the models' card of gpt-oss; slopes, arXiv 2108.12409.
    """
    found = np.zeros((*q.shape[:2], values.shape[2]))
    num_heads, num_kv_heads = q.shape[1], keys.shape[1]
    for token in range(len(q)):
        end = first + token + 1
        seen = slice(0 if window is None else max(0, end - window), end)
        for head in range(num_heads):
            of = head * num_kv_heads // num_heads
            scores = keys[seen, of] @ q[token, head] * scale
            if softcap is not None:
                scores = softcap * np.tanh(scores / softcap)
            if slopes is not None:
                scores = scores + slopes[head] * (np.arange(seen.start, end) - (end - 1))
            if sinks is not None:
                scores = np.append(scores, sinks[head])
            weights = np.exp(scores - np.max(scores))
            weights /= np.sum(weights)
            found[token, head] = weights[: end - seen.start] @ values[seen, of]
    return found


def kv_write(k: Floats, v: Floats, slots: Ints, state: Planes) -> None:
    """Store keys and values. Shapes: k, v [T, K, D]; slots [T]; each plane [B, P, K, D]."""
    for plane, rows in zip(state, (k, v), strict=True):
        by_slot(plane)[slots] = rows


def kv_read(slots: Ints, state: Planes) -> Planes:
    """Give back what slots hold. Shapes: slots [T]; returns k and v, [T, K, D]."""
    keys, values = state
    return by_slot(keys)[slots], by_slot(values)[slots]


def attention(
    q: Floats,
    query_starts: Ints,
    computed: Ints,
    block_table: Ints,
    state: Planes,
    *,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Floats | None = None,
    slopes: Floats | None = None,
) -> Floats:
    """Attend each new token to its own request's past, as far as a window reaches, and to itself.

    Shapes: q [T, H, D]; query_starts [R+1]; computed [R]; block_table [R, M]; returns [T, H, D].
    """
    block_size = state[0].shape[1]
    found = np.zeros_like(q)
    for request, table in enumerate(block_table):
        start, stop = query_starts[request], query_starts[request + 1]
        if start == stop:
            continue
        context = np.arange(computed[request] + stop - start)
        slots = table[context // block_size] * block_size + context % block_size
        keys, values = kv_read(slots.astype(np.int32), state)
        found[start:stop] = attend(
            q[start:stop],
            keys,
            values,
            first=int(computed[request]),
            scale=scale,
            window=window,
            softcap=softcap,
            sinks=sinks,
            slopes=slopes,
        )
    return found


def rotary_kv_write(
    q: Floats, k: Floats, v: Floats, table: Floats, slots: Ints, state: Planes, *, interleaved: bool
) -> Floats:
    """Turn queries and keys, store keys and values, give the turned queries."""
    kv_write(rotary(k, table, interleaved=interleaved), v, slots, state)
    return rotary(q, table, interleaved=interleaved)


def by_slot(plane: Floats) -> Floats:
    """See a plane as one row a slot. Shapes: [B, P, K, D]; returns [B * P, K, D], a view."""
    return plane.reshape(-1, *plane.shape[2:])
