"""Mistakes in what reads encoders' rows and places on several axes, each in one thing.

Knows nothing of platforms or of who finds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from octavo_conformance.oracle import cross, encoder, mixed, seats
from octavo_conformance.oracle.attention import Planes, attention
from octavo_conformance.oracle.platform import state_kernel
from octavo_conformance.oracle.values import Floats, Ints
from octavo_platforms.hooks import hookimpl
from octavo_platforms.platform import StateKernel
from octavo_platforms.specs import CrossAttentionSpec


@dataclass(frozen=True, slots=True)
class WrongCross:
    """A plugin with wrong cross attention."""

    run: Callable[..., Floats]

    @hookimpl
    def bind_cross_attention(self, spec: CrossAttentionSpec) -> StateKernel:
        """Give the wrong kernel."""
        return state_kernel("cross_attention", partial(self.run, scale=spec.scale))


def sees_as_far_as_it_stands(
    q: Floats, starts: Ints, lengths: Ints, table: Ints, state: Planes, *, scale: float
) -> Floats:
    """Cross attention in which a request's i-th token sees i fewer rows than its last."""
    before = np.maximum(lengths - np.diff(starts), 0)
    return attention(q, starts, before.astype(np.int32), table, state, scale=scale)


def sees_whole_blocks(
    q: Floats, starts: Ints, lengths: Ints, table: Ints, state: Planes, *, scale: float
) -> Floats:
    """Cross attention that rounds lengths up to blocks."""
    size = state[0].shape[1]
    whole = (-(-lengths // size) * size).astype(np.int32)
    return cross.cross_attention(q, starts, whole, table, state, scale=scale)


def sees_all(
    q: Floats, k: Floats, v: Floats, query_starts: Ints, *, scale: float, **others: object
) -> Floats:
    """An encoder's attention that does not know how far it sees."""
    return encoder.encoder_attention(q, k, v, query_starts, scale=scale, num_kv_heads=k.shape[1])


def sees_one_too_many(
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
    """An encoder's attention whose window in front has a token more."""
    more = None if before is None else before + 1
    return encoder.encoder_attention(
        q, k, v, query_starts, scale=scale, num_kv_heads=num_kv_heads, before=more, after=after
    )


def mixes_by_weight(x: Floats, source: Ints, kept: Floats) -> Floats:
    """Mixing that multiplies both rows by zero or one."""
    is_kept = (source > 0)[:, None]
    mixed_rows: Floats = x * ~is_kept + kept[source] * is_kept
    return mixed_rows


def sections_in_runs(
    positions: Ints,
    offsets: Ints,
    frequencies: Floats,
    *,
    factor: float,
    sections: tuple[int, ...],
) -> Floats:
    """A table that takes how many frequencies an axis has for which these are."""
    runs = tuple(sorted(sections))
    return mixed.rope_sections(positions, offsets, frequencies, factor=factor, sections=runs)


def offsets_as_places(
    positions: Ints,
    offsets: Ints,
    frequencies: Floats,
    *,
    factor: float,
    sections: tuple[int, ...],
) -> Floats:
    """A table that leaves a token's own position out."""
    zeros = np.zeros_like(positions)
    return mixed.rope_sections(zeros, offsets, frequencies, factor=factor, sections=sections)


def last_row_of_all(query_starts: Ints, num_drafts: Ints, num_tokens: Ints) -> Ints:
    """The last row of each request, drafts that were not accepted included."""
    return seats.last_rows(query_starts, num_drafts, num_drafts + 1)
