"""Rows and counters: embeddings, gathers, and what a step's causes imply.

Knows nothing of dtypes: these ops move values and count, and round nothing.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.oracle.values import Ints
from octavo_platforms.tensor import Array


def embedding(table: Array, ids: Ints) -> Array:
    """Look ids up. Shapes: table [V, E]; ids [T]; returns [T, E]."""
    return table[ids]


def gather_rows(x: Array, rows: Ints) -> Array:
    """Take rows. Shapes: x [A, ...]; rows [S]; returns [S, ...]."""
    return x[rows]


def scatter_rows(buffer: Array, rows: Ints, values: Array) -> None:
    """Replace rows of a buffer. Shapes: buffer [N, ...]; rows [U]; values [U, ...]."""
    buffer[rows] = values


def positions(token_ids: Ints, query_starts: Ints, computed: Ints) -> Ints:
    """Count each token's place in its request. Shapes: [T], [R+1], [R]; returns [T]."""
    found = np.zeros(len(token_ids), np.int32)
    for request, before in enumerate(computed):
        start, stop = query_starts[request], query_starts[request + 1]
        found[start:stop] = before + np.arange(stop - start)
    return found


def request_of(rows: Ints, query_starts: Ints) -> Ints:
    """Tell whose token each row is. Shapes: rows [S]; query_starts [R+1]; returns [S]."""
    return (np.searchsorted(query_starts, rows, side="right") - 1).astype(np.int32)


def slots(positions: Ints, query_starts: Ints, block_table: Ints, *, block_size: int) -> Ints:
    """Find each token's slot. Shapes: [T], [R+1], block_table [R, M]; returns [T]."""
    found = np.zeros(len(positions), np.int32)
    for request, table in enumerate(block_table):
        for token in range(query_starts[request], query_starts[request + 1]):
            block, within = divmod(positions[token], block_size)
            found[token] = table[block] * block_size + within
    return found


def split(x: Array, *, sizes: tuple[int, ...]) -> tuple[Array, ...]:
    """Cut the last axis into runs. Shapes: x [..., A+B+...]; returns [..., A], [..., B], ..."""
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis=-1))


def heads(x: Array, *, width: int) -> Array:
    """See rows as heads. Shapes: x [T, H*D]; returns [T, H, D]."""
    return x.reshape(x.shape[0], x.shape[1] // width, width)


def flatten(x: Array) -> Array:
    """See heads as rows. Shapes: x [T, H, D]; returns [T, H*D]."""
    return x.reshape(x.shape[0], x.shape[1] * x.shape[2])
