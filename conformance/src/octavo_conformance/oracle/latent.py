"""Latents: writing them, reading them back, attending to them.

`attend_latents` is attention without pages: one request, its context in order, keys and values
made of the latents and attended to as any others. Knows nothing of layouts but [B, P, C].
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.oracle.attention import attend, by_slot
from octavo_conformance.oracle.values import Floats, Ints

State = tuple[Floats]
Paged = tuple[Ints, Ints, Ints, State]
"""What attention over pages reads of a launch: query_starts, computed, block_table, the state."""


def attend_latents(
    q: Floats, q_rope: Floats, weight: Floats, rows: Floats, *, first: int, scale: float
) -> Floats:
    """Attend each token of one request to positions up to its own.

    Shapes: q [Q, H, Dn] and q_rope [Q, H, Dr], at positions first, first + 1, ...; weight
        [H*(Dn+Dv), C]; rows [N, C+Dr], in the order of positions; returns [Q, H, Dv].
    """
    num_heads, width = q.shape[1:]
    latents, ropes = np.split(rows, [weight.shape[1]], axis=1)
    made = (latents @ weight.T).reshape(len(rows), num_heads, -1)
    shared = np.repeat(ropes[:, None], num_heads, axis=1)
    keys = np.concatenate([made[..., :width], shared], axis=-1)
    queries = np.concatenate([q, q_rope], axis=-1)
    return attend(queries, keys, made[..., width:], first=first, scale=scale)


def latent_write(latent: Floats, key: Floats, slots: Ints, state: State) -> None:
    """Store latents with their keys. Shapes: [T, C]; [T, Dr]; slots [T]; plane [B, P, C+Dr]."""
    by_slot(state[0])[slots] = np.concatenate([latent, key], axis=-1)


def latent_read(slots: Ints, state: State) -> Floats:
    """Give back what slots hold. Shapes: slots [T]; returns [T, C+Dr]."""
    return by_slot(state[0])[slots]


def latent_attention(
    q: Floats,
    q_rope: Floats,
    weight: Floats,
    *paged: *Paged,
    scale: float,
) -> Floats:
    """Attend each new token to its own request's past and to itself.

    Shapes: as `attend_latents`, [T, ...] for [Q, ...]; query_starts [R+1]; computed [R];
        block_table [R, M].
    """
    query_starts, computed, block_table, state = paged
    block_size = state[0].shape[1]
    value_width = len(weight) // q.shape[1] - q.shape[2]
    found = np.zeros((*q.shape[:2], value_width))
    for request, table in enumerate(block_table):
        start, stop = query_starts[request : request + 2]
        if start == stop:
            continue
        context = np.arange(computed[request] + stop - start)
        slots = table[context // block_size] * block_size + context % block_size
        rows = latent_read(slots.astype(np.int32), state)
        own, first = slice(start, stop), int(computed[request])
        found[own] = attend_latents(q[own], q_rope[own], weight, rows, first=first, scale=scale)
    return found
