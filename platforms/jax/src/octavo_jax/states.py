"""Paged states: the layouts that the kernels here know.

    slots first   [B, P, K, D]   a slot's heads together
    rows          [B, P, C]      latents: a slot has one row, and no heads

Knows nothing of attention.
"""

from __future__ import annotations

from collections.abc import Callable

from jax import Array

from octavo_platforms.platform import Kernel, StateKernel, StateLayout
from octavo_platforms.program import StateSpec

SLOTS_FIRST = StateLayout("slots first", ("B", "P", "K", "D"))
ROWS = StateLayout("rows", ("B", "P", "C"))

Planes = tuple[Array, ...]


def by_slot(plane: Array) -> Array:
    """See a plane as one row a slot. Shapes: [B, P, ...]; returns [B * P, ...]."""
    return plane.reshape(-1, *plane.shape[2:])


def state_kernel(
    name: str, run: Callable[..., object], layout: StateLayout = SLOTS_FIRST
) -> StateKernel:
    """Offer a function on planes of one layout."""
    kernel = Kernel(name=name, run=run)
    return StateKernel(name=name, layouts=(layout,), at=lambda layout: kernel)


def in_order(state: StateSpec, kernel: Kernel) -> StateKernel:
    """Offer a kernel on planes whose axes stand as the state names them."""
    layouts = (StateLayout("as named", state.axes),)
    return StateKernel(name=kernel.name, layouts=layouts, at=lambda layout: kernel)
