"""Rows and counters: embeddings, gathers, and what a step's causes imply.

Tokens past the last request's are padding. Nothing here branches on a value: every index is
computed for every token, and what belongs to nobody is replaced afterwards.

Knows nothing of weights' meaning or of attention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import jax.numpy as jnp
from jax import Array

from octavo_platforms.ops.op import integer
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec


def take(x: Array, rows: Array) -> Array:
    """Take rows. Shapes: x [A, ...]; rows int32 [S]; returns [S, ...]."""
    return jnp.take(x, rows, axis=0, mode="clip")


def owner_of(indices: Array, starts: Array) -> Array:
    """Tell in which run each index lies; past the last run, its number of runs.

    Shapes: indices int32 [N]; starts int32 [R+1], ascending; returns int32 [N].
    """
    return jnp.searchsorted(starts[1:], indices, side="right", method="compare_all").astype(
        jnp.int32
    )


def scatter_rows(buffer: Array, rows: Array, values: Array) -> tuple[Array]:
    """Give a buffer with some rows replaced. Shapes: [N, ...], [U], [U, ...]; returns [N, ...]."""
    return (buffer.at[rows].set(values),)


def positions(token_ids: Array, query_starts: Array, computed: Array) -> Array:
    """Count each token's place in its request. Shapes: [T], [R+1], [R]; returns [T]."""
    tokens = jnp.arange(len(token_ids), dtype=jnp.int32)
    owners = owner_of(tokens, query_starts)
    found = take(computed, owners) + tokens - take(query_starts[:-1], owners)
    return jnp.where(tokens < query_starts[-1], found, 0)


def request_of(rows: Array, query_starts: Array) -> Array:
    """Tell whose token each row is. Shapes: [S], [R+1]; returns [S]."""
    return jnp.minimum(owner_of(rows, query_starts), len(query_starts) - 2)


def slots(positions: Array, query_starts: Array, block_table: Array, *, block_size: int) -> Array:
    """Find each token's slot. Shapes: [T], [R+1], block_table [R, M]; returns [T]."""
    tokens = jnp.arange(len(positions), dtype=jnp.int32)
    owners = request_of(tokens, query_starts)
    blocks = block_table.at[owners, positions // block_size].get(mode="clip")
    found = blocks * block_size + positions % block_size
    return jnp.where(tokens < query_starts[-1], found, 0)


def _plain(name: str, run: Callable[..., object]) -> Callable[[OpSpec], Kernel]:
    return lambda spec: Kernel(name=f"jax.{name}", run=run)


def _slots(spec: OpSpec) -> Kernel:
    block_size = integer(dict(spec.attrs), "block_size")
    return Kernel(name="jax.slots", run=partial(slots, block_size=block_size))


def _split(spec: OpSpec) -> Kernel:
    sizes = spec.attr("sizes")
    assert isinstance(sizes, tuple)
    ends = [sum(each for each in sizes[:end] if isinstance(each, int)) for end in range(len(sizes))]

    def run(x: Array) -> tuple[Array, ...]:
        return tuple(jnp.split(x, ends[1:], axis=-1))

    return Kernel(name="jax.split", run=run)


def _heads(spec: OpSpec) -> Kernel:
    width = integer(dict(spec.attrs), "width")

    def run(x: Array) -> Array:
        return x.reshape(x.shape[0], x.shape[1] // width, width)

    return Kernel(name="jax.heads", run=run)


def _flatten(x: Array) -> Array:
    return x.reshape(x.shape[0], x.shape[1] * x.shape[2])


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "embedding": _plain("embedding", take),
        "gather_rows": _plain("gather_rows", take),
        "scatter_rows": _plain("scatter_rows", scatter_rows),
        "positions": _plain("positions", positions),
        "slots": _slots,
        "split": _split,
        "heads": _heads,
        "flatten": _plain("flatten", _flatten),
    }
)
