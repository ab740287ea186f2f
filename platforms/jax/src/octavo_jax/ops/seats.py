"""What seats keep: numbers filled in on the device, and drafts held against what was chosen.

Knows nothing of logits or of who makes drafts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import jax.numpy as jnp
from jax import Array

from octavo_jax.ops.rows import request_of, take
from octavo_platforms.ops.op import integer
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec


def pick(given: Array, source: Array, seats: Array, *columns: Array) -> Array:
    """Take from a seat's columns where a source says so. Shapes: [A] thrice, [N] each; [A]."""
    found = given
    for index, column in enumerate(columns, 1):
        found = jnp.where(source == index, jnp.maximum(take(column, seats), 0), found)
    return found


def owners(token_ids: Array, query_starts: Array) -> Array:
    """Tell whose each token is, the last request's where nobody's. Shapes: [T], [R+1]; [T]."""
    return request_of(jnp.arange(len(token_ids), dtype=jnp.int32), query_starts)


def draft_rows(query_starts: Array, num_drafts: Array, *, width: int) -> Array:
    """Name the rows before and after which drafts stand. Shapes: [R+1], [R]; returns [W*R]."""
    last = query_starts[1:, None] - 1
    rows = last - num_drafts[:, None] + jnp.arange(width, dtype=jnp.int32)
    return jnp.maximum(jnp.minimum(rows, last), 0).reshape(-1)


def accept(
    token_ids: Array,
    chosen: Array,
    query_starts: Array,
    num_drafts: Array,
    computed: Array,
    *,
    width: int,
) -> tuple[Array, Array, Array, Array]:
    """Count the drafts that are what was chosen.

    Shapes: [T], [W*R], [R+1], [R], [R]; returns tokens [R, W], their number [R], the last of
        them [R], how much is computed [R].
    """
    made, counts = chosen.reshape(-1, width), jnp.arange(width, dtype=jnp.int32)
    rows = draft_rows(query_starts, num_drafts, width=width)
    fed = take(token_ids, rows).reshape(-1, width)
    is_right = (fed[:, 1:] == made[:, :-1]) & (counts[1:] <= num_drafts[:, None])
    accepted = jnp.sum(jnp.cumprod(is_right.astype(jnp.int32), axis=1), axis=1, dtype=jnp.int32)
    lengths = jnp.diff(query_starts)
    num_tokens = jnp.where(lengths > 0, accepted + 1, 0)
    tokens = jnp.where(counts < num_tokens[:, None], made, 0)
    last = jnp.take_along_axis(tokens, accepted[:, None], axis=1)[:, 0]
    known = computed + jnp.where(lengths > 0, lengths - num_drafts + accepted, 0)
    return tokens, num_tokens, last, known


def last_rows(query_starts: Array, num_drafts: Array, num_tokens: Array) -> Array:
    """Name each request's last token that counts. Shapes: [R+1], [R], [R]; returns [R]."""
    return jnp.maximum(query_starts[1:] - 2 - num_drafts + num_tokens, 0)


def _wide(name: str, run: Callable[..., object]) -> Callable[[OpSpec], Kernel]:
    return lambda spec: Kernel(
        name=f"jax.{name}", run=partial(run, width=integer(dict(spec.attrs), "width"))
    )


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "pick": lambda spec: Kernel(name="jax.pick", run=pick),
        "owners": lambda spec: Kernel(name="jax.owners", run=owners),
        "draft_rows": _wide("draft_rows", draft_rows),
        "accept": _wide("accept", accept),
        "last_rows": lambda spec: Kernel(name="jax.last_rows", run=last_rows),
    }
)
