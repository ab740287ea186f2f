"""The kernels: each primitive as a plain function of its inputs, attributes as keywords.

Arrays are float32, int32 and uint32. A state is the pair of its planes, [B, P, K, D] each.
Mixtures of experts, drafts and encoders have a few more, which the suite asks for only where
they are there. Knows nothing of graphs or launches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from octavo_platforms.philox import gumbel
from octavo_platforms.tensor import Array

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint32]
Planes = tuple[Floats, Floats]


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
    tokens = np.arange(len(token_ids), dtype=np.int32)
    owner = request_of(tokens, query_starts)
    found: Ints = computed[owner] + tokens - query_starts[owner]
    return found


def request_of(rows: Ints, query_starts: Ints) -> Ints:
    """Tell whose token each row is. Shapes: rows [S]; query_starts [R+1]; returns [S]."""
    return (np.searchsorted(query_starts, rows, side="right") - 1).astype(np.int32)


def owners(token_ids: Ints, query_starts: Ints) -> Ints:
    """Tell whose each token is. Shapes: token_ids [T]; query_starts [R+1]; returns [T]."""
    return request_of(np.arange(len(token_ids), dtype=np.int32), query_starts)


def pick(given: Ints, source: Ints, seats: Ints, *columns: Ints) -> Ints:
    """Take from a seat's columns where a source says so. Shapes: [A] thrice, [N] each; [A]."""
    found = given.copy()
    for number, column in enumerate(columns, 1):
        found[source == number] = np.maximum(column[seats[source == number]], 0)
    return found


def slots(at: Ints, query_starts: Ints, block_table: Ints, *, block_size: int) -> Ints:
    """Find the slot of each position. Shapes: [T], [R+1], block_table [R, M]; returns [T]."""
    owner = request_of(np.arange(len(at), dtype=np.int32), query_starts)
    found: Ints = block_table[owner, at // block_size] * block_size + at % block_size
    return found


def split(x: Array, *, sizes: tuple[int, ...]) -> tuple[Array, ...]:
    """Cut the last axis into runs. Shapes: x [..., A+B+...]; returns [..., A], [..., B], ..."""
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis=-1))


def heads(x: Array, *, width: int) -> Array:
    """See rows as heads. Shapes: x [T, H*D]; returns [T, H, D]."""
    return x.reshape(len(x), x.shape[1] // width, width)


def flatten(x: Array) -> Array:
    """See heads as rows. Shapes: x [T, H, D]; returns [T, H*D]."""
    return x.reshape(len(x), x.shape[1] * x.shape[2])


def linear(x: Floats, weight: Floats, bias: Floats | None = None) -> Floats:
    """Multiply rows by a weight. Shapes: x [T, I]; weight [O, I]; bias [O]; returns [T, O]."""
    found: Floats = x @ weight.T
    return found if bias is None else found + bias


def rms_norm(x: Floats, weight: Floats, *, eps: float, offset: float = 0.0) -> Floats:
    """Divide rows by their root mean square. Shapes: x [..., E]; weight [E]."""
    mean = np.mean(np.square(x), axis=-1, keepdims=True)
    found: Floats = x / np.sqrt(mean + np.float32(eps)) * (weight + offset)
    return found


def add(a: Floats, b: Floats) -> Floats:
    """Add element by element."""
    return a + b


def mul(a: Floats, b: Floats) -> Floats:
    """Multiply element by element."""
    return a * b


def silu(x: Floats) -> Floats:
    """Weigh each element by its logistic function."""
    with np.errstate(over="ignore"):
        weights: Floats = np.reciprocal(1 + np.exp(-x))
    return x * weights


def cast(x: Floats, *, to: str) -> Floats:
    """Do nothing: there is one floating dtype here."""
    return x


def rope_table(at: Ints, frequencies: Floats, *, factor: float) -> Floats:
    """Give cosines, then sines, of each position's angles. Shapes: [T], [D/2]; returns [T, D]."""
    angles: Floats = at.astype(np.float32)[:, None] * frequencies
    table: Floats = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)
    return table * np.float32(factor)


def rotary(x: Floats, table: Floats, *, interleaved: bool) -> Floats:
    """Turn the first D' features of each head, pair by pair. Shapes: x [T, H, D]; table [T, D']."""
    width = table.shape[-1]
    cosine, sine = (part[:, None] for part in np.split(table, 2, axis=-1))
    first, second = slice(0, width // 2), slice(width // 2, width)
    if interleaved:
        first, second = slice(0, width, 2), slice(1, width, 2)
    found = x.copy()
    found[..., first] = x[..., first] * cosine - x[..., second] * sine
    found[..., second] = x[..., second] * cosine + x[..., first] * sine
    return found


def kv_write(k: Floats, v: Floats, at: Ints, state: Planes) -> None:
    """Store keys and values by slot. Shapes: k, v [T, K, D]; at [T]."""
    for plane, rows in zip(state, (k, v), strict=True):
        by_slot(plane)[at] = rows


def kv_read(at: Ints, state: Planes) -> Planes:
    """Give what slots hold. Shapes: at [T]; returns [T, K, D] twice."""
    keys, values = (by_slot(plane)[at] for plane in state)
    return keys, values


def attention(
    q: Floats,
    query_starts: Ints,
    computed: Ints,
    block_table: Ints,
    state: Planes,
    *,
    scale: float,
    window: int | None,
) -> Floats:
    """Attend each new token to its own request's past, as far as a window reaches, and to itself.

    Shapes: q [T, H, D]; query_starts [R+1]; computed [R]; block_table [R, M]; returns as q.
    """
    found = np.zeros_like(q)
    num_kv_heads = state[0].shape[2]
    for request, table in enumerate(block_table):
        start, stop = query_starts[request : request + 2]
        context = computed[request] + stop - start
        keys, values = (
            plane[table].reshape(-1, *plane.shape[2:])[:context].transpose(1, 0, 2)
            for plane in state
        )
        mine = q[start:stop].reshape(stop - start, num_kv_heads, -1, q.shape[2])
        scores = np.einsum("qkgd,ksd->kgqs", mine, keys) * np.float32(scale)
        own, seen = computed[request] + np.arange(stop - start)[:, None], np.arange(context)
        is_hidden = (seen > own) | (seen <= own - (window or context))
        scores[..., is_hidden] = -np.inf
        values = np.where(is_hidden.all(0)[:, None], np.float32(0.0), values)
        weights = np.exp(scores - scores.max(-1, keepdims=True, initial=-np.inf))
        weights /= weights.sum(-1, keepdims=True)
        made = np.einsum("kgqs,ksd->qkgd", weights, values)
        found[start:stop] = made.reshape(stop - start, *q.shape[1:])
    return found


def sample(logits: Floats, settings: Words, seats: Ints, at: Ints) -> Ints:
    """Choose a token for each row. Shapes: [S, V], [N, 3], [S], [S]; returns [S]."""
    found = np.zeros(len(seats), np.int32)
    for row, seat in enumerate(seats):
        temperature, low, high = settings[seat]
        scores = logits[row]
        if temperature:
            seed = np.uint64(int(low) | int(high) << 32)
            noise = gumbel(seed, int(at[row]) + 1, len(scores))
            scores = scores / np.array(temperature).view(np.float32) + noise
        found[row] = np.argmax(scores) if np.isfinite(scores.max()) else -1
    return found


def by_slot(plane: Floats) -> Floats:
    """See a plane as one row a slot. Shapes: [B, P, K, D]; returns [B * P, K, D], a view."""
    return plane.reshape(-1, *plane.shape[2:])


PRIMITIVES: Mapping[str, Callable[..., object]] = MappingProxyType(
    {
        primitive.__name__: primitive
        for primitive in (
            embedding, gather_rows, scatter_rows, positions, owners, pick, slots, split,
            heads, flatten, rms_norm, add, mul, silu, cast, rope_table, rotary, sample,
        )
    }
)  # fmt: skip
