"""A plain torch platform on the host: the base with no override."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from octavo_platforms.capabilities import DeviceInfo, DeviceSettings, MemoryStats, Probe
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import DeviceContext
from octavo_torch import TorchPlatform

GIB = 1 << 30


def plain_platform() -> TorchPlatform:
    """Make the base on the host, with figures that a test can know."""
    return TorchPlatform(
        name="plain",
        device="cpu",
        vendor="test",
        dtypes=("float32", "bfloat16"),
        probe=lambda: Probe(True, "the host", 0),
        discover=lambda: (DeviceInfo(0, "host", 2 * GIB),),
        stats=lambda index: MemoryStats(2 * GIB, GIB),
    )


@pytest.fixture
def platform() -> Platform:
    return Platform(plain_platform())


@pytest.fixture
def context(platform: Platform) -> Iterator[DeviceContext]:
    opened = platform.open_device((0,), DeviceSettings())
    yield opened
    opened.close()
