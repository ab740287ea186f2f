"""What the device is, as far as it can be said without torch: its name, its memory, its prospects.

Knows nothing of platforms' hooks.
"""

from __future__ import annotations

from importlib.util import find_spec

from octavo_emulated.build import compiler
from octavo_platforms.capabilities import DeviceInfo, Probe

NAME = "emu"
MEMORY_BYTES = 2 << 30


def probe() -> Probe:
    """Say whether the device can be built."""
    if find_spec("torch") is None:
        return Probe(False, "torch is not installed", 0)
    if compiler() is None:
        return Probe(False, "there is no C++ compiler to build the emulated device with", 0)
    return Probe(True, "host memory behind a device of its own; slow, for tests", 0)


def discover() -> tuple[DeviceInfo, ...]:
    """List the one device."""
    return (DeviceInfo(0, "emulated device", MEMORY_BYTES),)
