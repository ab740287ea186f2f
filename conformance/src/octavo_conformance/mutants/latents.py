"""Mistakes of attention over latents and of their writes, each in one thing.

Knows nothing of who finds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from octavo_conformance.oracle import latent
from octavo_conformance.oracle.attention import by_slot
from octavo_conformance.oracle.latent import Paged, State
from octavo_conformance.oracle.platform import ROWS, state_kernel
from octavo_conformance.oracle.values import Floats, Ints
from octavo_platforms.hooks import hookimpl
from octavo_platforms.inputs import StepInputs
from octavo_platforms.platform import Kernel, StateKernel
from octavo_platforms.specs import LatentAttentionSpec, LatentRowsSpec

Asking = tuple[Floats, Floats, float]
Change = Callable[[Floats, Floats, Floats, float], Asking]


@dataclass(frozen=True, slots=True)
class WrongLatentAttention:
    """A plugin with wrong attention over latents."""

    run: Callable[..., Floats]

    @hookimpl
    def bind_latent_attention(self, spec: LatentAttentionSpec) -> StateKernel:
        """Give the wrong kernel."""
        return state_kernel("latent_attention", partial(self.run, scale=spec.scale), ROWS)


class KeysBeforeLatents:
    """A plugin that writes each rotary key in front of its latent."""

    @hookimpl
    def bind_latent_rows(self, spec: LatentRowsSpec) -> StateKernel | None:
        """Give the wrong kernel."""
        if spec.op != "latent_write":
            return None

        def run(rows: Floats, keys: Floats, slots: Ints, state: State) -> None:
            latent.latent_write(keys, rows, slots, state)

        return state_kernel(spec.op, run, ROWS)


class AttendsToLatentsByTheHostsLengths:
    """Prepares by what the launch says is computed, whoever knows better."""

    @hookimpl
    def bind_latent_attention(self, spec: LatentAttentionSpec) -> StateKernel:
        """Give the wrong kernel."""

        def prepare(inputs: StepInputs) -> Ints:
            return inputs.computed.copy()

        def run(
            q: Floats,
            q_rope: Floats,
            weight: Floats,
            *paged: *Paged,
            prepared: Ints,
        ) -> Floats:
            starts, _, table, state = paged
            return latent.latent_attention(
                q, q_rope, weight, starts, prepared, table, state, scale=spec.scale
            )

        kernel = Kernel(name="planted.latent_attention", run=run, prepare=prepare)
        return StateKernel(name=kernel.name, layouts=(ROWS,), at=lambda layout: kernel)


def misread(change: Change) -> Callable[..., Floats]:
    """Make attention that takes something else for its queries, weight or scale."""

    def run(q: Floats, q_rope: Floats, weight: Floats, *paged: *Paged, scale: float) -> Floats:
        rope, taken, own = change(q, q_rope, weight, scale)
        return latent.latent_attention(q, rope, taken, *paged, scale=own)

    return run


def without_rotary_keys(q: Floats, q_rope: Floats, weight: Floats, scale: float) -> Asking:
    """Scores of the plain parts alone."""
    return np.zeros_like(q_rope), weight, scale


def values_before_keys(q: Floats, q_rope: Floats, weight: Floats, scale: float) -> Asking:
    """A weight in which each head's values come first."""
    by_head = weight.reshape(q.shape[1], -1, weight.shape[1])
    return q_rope, np.roll(by_head, q.shape[2], axis=1).reshape(weight.shape), scale


def all_keys_first(q: Floats, q_rope: Floats, weight: Floats, scale: float) -> Asking:
    """A weight read as the keys of all heads, then the values of all."""
    num_heads, width = q.shape[1:]
    parts = (
        part.reshape(num_heads, -1, weight.shape[1])
        for part in np.split(weight, [num_heads * width])
    )
    return q_rope, np.concatenate(list(parts), axis=1).reshape(weight.shape), scale


def scaled_by_the_row(q: Floats, q_rope: Floats, weight: Floats, scale: float) -> Asking:
    """A scale that follows from the width of what the absorbed form multiplies."""
    return q_rope, weight, float(weight.shape[1] + q_rope.shape[2]) ** -0.5


def masked_by_zero(
    q: Floats, q_rope: Floats, weight: Floats, *paged: *Paged, scale: float
) -> Floats:
    """Attention that looks at whole blocks, and multiplies what it must not see by zero."""
    found = latent.latent_attention(q, q_rope, weight, *paged, scale=scale)
    starts, computed, table, state = paged
    for request, blocks in enumerate(table):
        own = slice(starts[request], starts[request + 1])
        used = -(-(computed[request] + own.stop - own.start) // state[0].shape[1])
        slots = (blocks[:used, None] * state[0].shape[1] + np.arange(state[0].shape[1])).reshape(-1)
        found[own] += 0.0 * np.sum(by_slot(state[0])[slots])
    return found
