"""Mistakes in what attention takes from scores by distance.

Knows nothing of who finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np

from octavo_conformance.mutants.mistakes import paged
from octavo_conformance.oracle import attention
from octavo_conformance.oracle.attention import Planes
from octavo_conformance.oracle.platform import state_kernel
from octavo_conformance.oracle.values import Floats, Ints
from octavo_platforms.hooks import hookimpl
from octavo_platforms.platform import StateKernel
from octavo_platforms.specs import AttentionSpec


@dataclass(frozen=True, slots=True)
class WrongSlopes:
    """A plugin whose attention goes wrong with slopes."""

    run: Callable[..., Floats]

    @hookimpl
    def bind_attention(self, spec: AttentionSpec) -> StateKernel | None:
        """Give the wrong kernel, where there are slopes and nothing else."""
        if not spec.slopes or spec.sinks or spec.softcap is not None or spec.window is not None:
            return None
        return state_kernel("attention", partial(self.run, scale=spec.scale))


def with_others(
    q: Floats,
    starts: Ints,
    computed: Ints,
    table: Ints,
    state: Planes,
    slopes: Floats,
    *,
    scale: float,
    others: Callable[[Floats, float], Floats],
) -> Floats:
    """Attention that takes other slopes than it was given."""
    wrong = others(slopes, scale)
    return attention.attention(q, starts, computed, table, state, slopes=wrong, scale=scale)


def by_position(
    q: Floats,
    starts: Ints,
    computed: Ints,
    table: Ints,
    state: Planes,
    slopes: Floats,
    *,
    scale: float,
) -> Floats:
    """Attention that adds slope * k in float32: right, but for the rounding of large positions."""
    found, num_kv_heads = np.zeros_like(q), state[0].shape[2]
    for head, slope in enumerate(slopes):
        own = slice(head, head + 1)
        of = head * num_kv_heads // len(slopes)
        planes = tuple(plane[:, :, of : of + 1] for plane in state)
        attend = paged(partial(_by_position, slope))
        found[:, own] = attend(q[:, own], starts, computed, table, planes, scale=scale)
    return found


def _by_position(
    slope: float, q: Floats, keys: Floats, values: Floats, last: int, scale: float
) -> Floats:
    scores = (keys[: last + 1] @ q * scale).astype(np.float32)
    scores += np.float32(slope) * np.arange(last + 1, dtype=np.float32)
    weights = np.exp((scores - scores.max()).astype(np.float64))
    found: Floats = weights @ values[: last + 1] / weights.sum()
    return found


MISTAKES: Mapping[str, Callable[..., Floats]] = MappingProxyType(
    {
        "slopes forgotten": partial(
            with_others, others=lambda slopes, scale: np.zeros_like(slopes)
        ),
        "slopes dealt out backwards": partial(
            with_others, others=lambda slopes, scale: slopes[::-1]
        ),
        "slopes scaled": partial(with_others, others=lambda slopes, scale: slopes * scale),
        "slopes by position": by_position,
    }
)
