"""Mistakes in what families differ in: norms, activations, scales and caps.

Each differs from the oracle in one thing. Knows nothing of platforms or of who finds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from octavo_conformance.oracle import attention, dense
from octavo_conformance.oracle.attention import Planes
from octavo_conformance.oracle.platform import state_kernel
from octavo_conformance.oracle.values import Floats, Ints
from octavo_platforms.hooks import hookimpl
from octavo_platforms.platform import StateKernel
from octavo_platforms.specs import AttentionSpec


def norm_without_offset(x: Floats, weight: Floats, *, eps: float, offset: float = 0.0) -> Floats:
    """A norm that multiplies by its weight, whatever offset it was asked for."""
    return dense.rms_norm(x, weight, eps=eps)


def norm_of_all_heads(x: Floats, weight: Floats, *, eps: float, offset: float = 0.0) -> Floats:
    """A norm that takes the root mean square of all heads of a row together."""
    axes = tuple(range(1, x.ndim))
    size = np.sqrt(np.mean(np.square(x), axis=axes, keepdims=True) + eps)
    found: Floats = x / size * (weight + offset)
    return found


def layer_norm_without_mean(
    x: Floats,
    weight: Floats | None = None,
    bias: Floats | None = None,
    *,
    eps: float,
    offset: float = 0.0,
) -> Floats:
    """A layer norm that leaves the mean where it is."""
    ones = np.ones(x.shape[-1]) if weight is None else weight + offset
    found = dense.rms_norm(x, ones, eps=eps)
    return found if bias is None else found + bias


def layer_norm_without_bias(
    x: Floats,
    weight: Floats | None = None,
    bias: Floats | None = None,
    *,
    eps: float,
    offset: float = 0.0,
) -> Floats:
    """A layer norm that forgets its bias."""
    return dense.layer_norm(x, weight, eps=eps, offset=offset)


def divided(x: Floats, *, factor: float) -> Floats:
    """A scale that divides."""
    return x / factor


def cut_off(x: Floats, *, cap: float) -> Floats:
    """A cap that cuts off instead of bending."""
    return np.clip(x, -cap, cap)


def sharper_one_row_early(x: Floats, positions: Ints, *, beta: float, every: int) -> Floats:
    """Sharper queries from the last position before each step on."""
    return dense.sharpen(x, positions + 1, beta=beta, every=every)


def sharper_at_every_position(x: Floats, positions: Ints, *, beta: float, every: int) -> Floats:
    """Queries that grow sharper from position to position, not by steps."""
    factors = 1.0 + beta * np.log(1.0 + positions / every)
    return x * factors.reshape(-1, *[1] * (x.ndim - 1))


@dataclass(frozen=True, slots=True)
class ForgetsTheCap:
    """Attention whose scores grow without limit."""

    @hookimpl
    def bind_attention(self, spec: AttentionSpec) -> StateKernel | None:
        """Give the wrong kernel, where there is a cap."""
        if spec.softcap is None or spec.sinks or spec.slopes:
            return None
        run = partial(attention.attention, scale=spec.scale, window=spec.window)
        return state_kernel("attention", run)


@dataclass(frozen=True, slots=True)
class ForgetsTheSinks:
    """Attention that gives everything to positions, whatever its sinks."""

    @hookimpl
    def bind_attention(self, spec: AttentionSpec) -> StateKernel | None:
        """Give the wrong kernel, where there are sinks."""
        if not spec.sinks or spec.slopes:
            return None

        def run(
            q: Floats, starts: Ints, computed: Ints, table: Ints, state: Planes, sinks: Floats
        ) -> Floats:
            return attention.attention(
                q,
                starts,
                computed,
                table,
                state,
                scale=spec.scale,
                window=spec.window,
                softcap=spec.softcap,
            )

        return state_kernel("attention", run)


MISTAKES = (
    ("norm without its offset", "rms_norm", norm_without_offset, "rms_norm"),
    ("norm of all heads", "rms_norm", norm_of_all_heads, "rms_norm"),
    ("layer norm without mean", "layer_norm", layer_norm_without_mean, "layer_norm"),
    ("layer norm without bias", "layer_norm", layer_norm_without_bias, "layer_norm"),
    ("one gelu for the other", "gelu", dense.gelu_tanh, "activation"),
    ("the other gelu for the one", "gelu_tanh", dense.gelu, "activation"),
    ("relu that bends", "relu", dense.gelu, "activation"),
    ("scale that divides", "scale", divided, "scale"),
    ("cap that cuts off", "softcap", cut_off, "softcap"),
    ("sharper a row early", "sharpen", sharper_one_row_early, "sharpen"),
    ("sharper without steps", "sharpen", sharper_at_every_position, "sharpen"),
)
