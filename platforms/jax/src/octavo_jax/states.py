"""Paged states: the layout that the kernels here know.

    slots first   [B, P, K, D]   a slot's heads together

Knows nothing of attention.
"""

from __future__ import annotations

from collections.abc import Callable

from jax import Array

from octavo_platforms.platform import Kernel, StateKernel, StateLayout

SLOTS_FIRST = StateLayout("slots first", ("B", "P", "K", "D"))

Planes = tuple[Array, Array]


def by_slot(plane: Array) -> Array:
    """See a plane as one row a slot. Shapes: [B, P, K, D]; returns [B * P, K, D]."""
    return plane.reshape(-1, *plane.shape[2:])


def state_kernel(name: str, run: Callable[..., object]) -> StateKernel:
    """Offer a function on planes of the one layout."""
    kernel = Kernel(name=name, run=run)
    return StateKernel(name=name, layouts=(SLOTS_FIRST,), at=lambda layout: kernel)
