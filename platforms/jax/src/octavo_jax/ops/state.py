"""Writing keys and values into a paged state, and reading them back, by slot.

A write gives new planes; where the old ones were donated, XLA writes into them.

Knows nothing of who attends to them.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from octavo_jax.ops.rows import take
from octavo_jax.states import Planes, by_slot, state_kernel
from octavo_platforms.platform import StateKernel, Unsupported
from octavo_platforms.specs import KVReadSpec, KVWriteSpec


def bind_kv_write(spec: KVWriteSpec) -> StateKernel | Unsupported:
    """Give the write; turning is left to the primitives."""
    if spec.op != "kv_write":
        return Unsupported("XLA fuses the primitives itself")
    return state_kernel("jax.kv_write", kv_write)


def bind_kv_read(spec: KVReadSpec) -> StateKernel:
    """Give the read."""
    return state_kernel("jax.kv_read", kv_read)


def kv_write(k: Array, v: Array, slots: Array, state: Planes) -> tuple[Planes]:
    """Store keys and values. Shapes: k, v [T, K, D]; slots [T]; gives the new planes."""
    keys, values = state
    return ((written(keys, slots, k), written(values, slots, v)),)


def kv_read(slots: Array, state: Planes) -> Planes:
    """Give back what slots hold. Shapes: slots [T]; returns k and v, [T, K, D]."""
    return tuple(take(by_slot(plane), slots) for plane in state)


def written(plane: Array, slots: Array, rows: Array) -> Array:
    """Give a plane with rows stored by slot. Shapes: [B, P, ...]; slots [T]; rows [T, ...]."""
    if len(slots) == 1:  # XLA fuses a scatter of one row with its readers, and copies the plane
        slots, rows = jnp.repeat(slots, 2), jnp.repeat(rows, 2, axis=0)
    return by_slot(plane).at[slots].set(rows).reshape(plane.shape)
