"""An opened device of a JAX runtime.

Knows nothing of programs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax

from octavo_jax.host import memory_of_host
from octavo_platforms.capabilities import DeviceInfo, MemoryStats
from octavo_platforms.errors import CannotStart
from octavo_platforms.platform import DeviceContext


@dataclass(frozen=True, slots=True)
class JaxContext:
    """One device, how its memory is asked for, and where arrays go to be on it."""

    devices: tuple[DeviceInfo, ...]
    device: jax.Device
    stats: Callable[[], MemoryStats]

    @property
    def sharding(self) -> jax.sharding.Sharding:
        """Give the place of an array that lies on this device whole."""
        return jax.sharding.SingleDeviceSharding(self.device)

    def close(self) -> None:
        """Do nothing: arrays go when nobody holds them, and the runtime is the process's."""


def opened(
    runtime: str, info: DeviceInfo, stats: Callable[[int], MemoryStats] | None
) -> JaxContext:
    """Open a device by its index. Raises: CannotStart, for a runtime that is not there."""
    try:
        device = jax.devices(runtime)[info.index]
    except (RuntimeError, IndexError) as error:
        raise CannotStart(f"JAX does not open {runtime}:{info.index}: {error}") from error

    def asked() -> MemoryStats:
        return _stats(device) if stats is None else stats(info.index)

    return JaxContext((info,), device, asked)


def ours(context: DeviceContext) -> JaxContext:
    """See a context as one of this base."""
    assert isinstance(context, JaxContext), "a context of another platform"
    return context


def _stats(device: jax.Device) -> MemoryStats:
    found = device.memory_stats()
    if found is None:  # the host's own memory, which the runtime does not count
        return memory_of_host()
    total = int(found["bytes_limit"])
    return MemoryStats(total, max(0, total - int(found["bytes_in_use"])))
