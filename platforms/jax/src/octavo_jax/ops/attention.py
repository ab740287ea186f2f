"""Attention over gathered blocks, for any mixture of prompts and single tokens.

    tokens     a a a a a b c c c . .        three requests, two tokens of padding
    tiles      [a a a a] [a . . .] [b . . .] [c c c .]          here of four tokens
    context    [0 1 2 3] [4 5 6 7] ...      chunks of blocks, walked by a loop

A tile has tokens of one request, so the keys of a chunk are gathered once for all of them, and
their products are matrices. How many tiles there can be follows from the shapes; how many
chunks are walked follows, while the program runs, from the longest context in the step. Steps
that may have a token of every request are cut into tiles of one.

What must not be read may hold not-a-number: scores are replaced, and values of slots past a
tile's last position are zeroed before they are multiplied.

Knows nothing of who wrote the state.
Source: arXiv 2309.06180 section 4.3; online softmax, arXiv 1805.02867.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from octavo_jax.ops.rows import owner_of, take
from octavo_jax.states import Planes, state_kernel
from octavo_platforms.platform import StateKernel
from octavo_platforms.specs import AttentionSpec

TILE_TOKENS = 16
CHUNK_SLOTS = 256
_LOW = -1e30  # below any score, and finite, so that differences are no not-a-number


def bind_attention(spec: AttentionSpec) -> StateKernel:
    """Give attention at one spec."""

    def run(
        q: Array,
        query_starts: Array,
        computed: Array,
        block_table: Array,
        state: Planes,
        *behind: Array,
    ) -> Array:
        sinks, slopes = spec.told_apart(behind)
        return attention(
            q,
            query_starts,
            computed,
            block_table,
            state,
            scale=spec.scale,
            window=spec.window,
            softcap=spec.softcap,
            sinks=sinks,
            slopes=slopes,
        )

    return state_kernel("jax.attention", run)


class Tiles(NamedTuple):
    """How tokens are cut into tiles.

    Shapes: request [N]; token and position [N, Q], where padding has position -1; tile and
        place [T], where each token went.
    """

    request: Array
    token: Array
    position: Array
    tile: Array
    place: Array


class Queries(NamedTuple):
    """What asks, and the first position that each may see, None for all before it.

    Shapes: rows [N, K, G, D]; position and first [N, 1, G], position -1 for padding; slopes
        [1, K, G, 1], None where scores do not depend on positions.
    """

    rows: Array
    position: Array
    first: Array | None
    scale: float
    softcap: float | None
    slopes: Array | None


class Sums(NamedTuple):
    """What a walk over the context carries, float32 [N, K, G, ...]: G queries of a KV head."""

    largest: Array
    weight: Array
    values: Array


def attention(
    q: Array,
    query_starts: Array,
    computed: Array,
    block_table: Array,
    state: Planes,
    *,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Array | None = None,
    slopes: Array | None = None,
) -> Array:
    """Attend each new token to its own request's past and to itself.

    Shapes: q [T, H, D]; query_starts [R+1]; computed [R]; block_table [R, M]; each plane
        [B, P, K, D]; returns [T, H, D], zeros for padding.
    Dtypes: as q; scores and sums are float32.
    Units: `window` is how many tokens are seen, None for all. The keys of a lone plane are its
        values too.
    """
    tiles = cut(len(q), query_starts, computed)
    found = attend_tiles(
        q,
        tiles,
        block_table,
        state,
        scale=scale,
        window=window,
        softcap=softcap,
        sinks=sinks,
        slopes=slopes,
    )
    is_padding = jnp.arange(len(q)) >= query_starts[-1]
    return jnp.where(is_padding[:, None, None], 0, found)


def attend_tiles(
    q: Array,
    tiles: Tiles,
    block_table: Array,
    state: Planes,
    *,
    scale: float,
    window: int | None,
    softcap: float | None = None,
    sinks: Array | None = None,
    slopes: Array | None = None,
    first: Array | None = None,
) -> Array:
    """Attend each token of a tile to the positions up to the one that the tile says it has.

    `first` is from which position on, where neither a window nor the beginning says it.

    Shapes: as `attention`; first [N, Q]; what padding gives is undefined.
    """
    num_heads, width = q.shape[1:]
    block_size, num_kv_heads = state[0].shape[1:3]
    num_tiles, tile_tokens = tiles.token.shape
    group = num_heads // num_kv_heads
    queries = take(q, tiles.token).reshape(num_tiles, tile_tokens, num_kv_heads, group, width)
    queries = queries.swapaxes(1, 2).reshape(num_tiles, num_kv_heads, -1, width)
    if window is not None:
        first = tiles.position - (window - 1)
    seen = jnp.repeat(tiles.position, group, axis=1)[:, None]
    since = None if first is None else jnp.repeat(first, group, axis=1)[:, None]
    steep = None if slopes is None else _by_row(slopes, group, queries.shape[2])[None, :, :, None]
    chunk = max(1, min(CHUNK_SLOTS // block_size, block_table.shape[1]))
    table = take(_widened(block_table, chunk), tiles.request)

    def step(index: Array | int, sums: Sums) -> Sums:
        blocks = lax.dynamic_slice_in_dim(table, index * chunk, chunk, axis=1)
        planes = [_gathered(plane, blocks) for plane in state]
        asking = Queries(queries, seen, since, scale, softcap, steep)
        return _attended(asking, planes[0], planes[-1], index * chunk * block_size, sums)

    shape = queries.shape[:3]
    sums = _at_first((*shape, width), group, sinks)
    if table.shape[1] == chunk:
        sums = step(0, sums)
    else:
        longest = jnp.max(tiles.position) + 1
        sums = lax.fori_loop(0, -(-longest // (chunk * block_size)), step, sums)
    found = jnp.where(sums.weight == 0, 0, sums.values / sums.weight).astype(q.dtype)
    found = found.reshape(num_tiles, num_kv_heads, tile_tokens, group, width).swapaxes(1, 2)
    found = found.reshape(num_tiles, tile_tokens, num_heads, width)
    return found.at[tiles.tile, tiles.place].get(mode="clip")


def _at_first(shape: tuple[int, ...], group: int, sinks: Array | None) -> Sums:
    """Give the sums before any position: nothing, or each head's sink, which has no value."""
    values = jnp.zeros(shape, jnp.float32)
    if sinks is None:
        none = jnp.zeros((*shape[:3], 1), jnp.float32)
        return Sums(jnp.full_like(none, _LOW), none, values)
    own = _by_row(sinks, group, shape[2])
    largest = jnp.broadcast_to(own[None, :, :, None], (*shape[:3], 1))
    return Sums(largest, jnp.ones_like(largest), values)


def _by_row(numbers: Array, group: int, rows: int) -> Array:
    """Give each row of a tile its head's number. Shapes: [H]; returns float32 [K, rows]."""
    return jnp.tile(numbers.astype(jnp.float32).reshape(-1, group), (1, rows // group))


def cut(num_tokens: int, query_starts: Array, computed: Array) -> Tiles:
    """Cut a step's tokens into tiles of one request each."""
    num_requests = len(computed)
    size = 1 if num_tokens <= num_requests else TILE_TOKENS
    num_tiles = min(num_tokens, num_tokens // size + num_requests)
    lengths = jnp.diff(query_starts)
    ends = jnp.cumsum(-(-lengths // size))
    starts = jnp.concatenate([jnp.zeros(1, jnp.int32), ends.astype(jnp.int32)])

    tiles = jnp.arange(num_tiles, dtype=jnp.int32)
    request = jnp.minimum(owner_of(tiles, starts), num_requests - 1)
    offset = (tiles - take(starts, request))[:, None] * size + jnp.arange(size, dtype=jnp.int32)
    is_there = (offset >= 0) & (offset < take(lengths, request)[:, None])
    token = take(query_starts, request)[:, None] + offset
    position = jnp.where(is_there, take(computed, request)[:, None] + offset, -1)

    tokens = jnp.arange(num_tokens, dtype=jnp.int32)
    owner = jnp.minimum(owner_of(tokens, query_starts), num_requests - 1)
    within = tokens - take(query_starts, owner)
    return Tiles(request, token, position, take(starts, owner) + within // size, within % size)


def _attended(queries: Queries, keys: Array, values: Array, first: Array | int, sums: Sums) -> Sums:
    """Add one chunk of the context to the sums.

    Shapes: keys and values [N, C, K, D], the slots of the positions from `first` on.
    """
    positions = first + jnp.arange(keys.shape[1], dtype=jnp.int32)
    last = jnp.max(queries.position, axis=(1, 2))
    is_read = positions <= last[:, None]
    if queries.first is not None:
        asking = jnp.where(queries.position < 0, last[:, None, None], queries.first)
        is_read &= positions >= jnp.min(asking, axis=(1, 2))[:, None]
    values = jnp.where(is_read[:, :, None, None], values, 0).astype(jnp.float32)

    scores = jnp.einsum(
        "nkgd,nckd->nkgc",
        queries.rows,
        keys,
        precision=lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )
    is_seen = positions <= queries.position[..., None]
    if queries.first is not None:
        is_seen &= positions >= queries.first[..., None]
    scores = scores * jnp.float32(queries.scale)
    if queries.softcap is not None:
        cap = jnp.float32(queries.softcap)
        scores = cap * jnp.tanh(scores / cap)
    if queries.slopes is not None:
        away = (positions - queries.position[..., None]).astype(jnp.float32)
        scores = scores + queries.slopes * away
    scores = jnp.where(is_seen, scores, -jnp.inf)
    largest = jnp.maximum(sums.largest, jnp.max(scores, axis=-1, keepdims=True))
    weights = jnp.exp(scores - largest)
    kept = jnp.exp(sums.largest - largest)
    added = jnp.einsum("nkgc,nckd->nkgd", weights, values, precision=lax.Precision.HIGHEST)
    weight = sums.weight * kept + jnp.sum(weights, axis=-1, keepdims=True)
    return Sums(largest, weight, sums.values * kept + added)


def _gathered(plane: Array, blocks: Array) -> Array:
    """Give the slots of blocks. Shapes: [B, P, K, D], [N, C]; returns [N, C * P, K, D]."""
    found = take(plane, blocks)
    return found.reshape(len(blocks), -1, *plane.shape[2:])


def _widened(table: Array, chunk: int) -> Array:
    """Give a block table whose width is a multiple of a chunk's."""
    return jnp.pad(table, ((0, 0), (0, -table.shape[1] % chunk)))
