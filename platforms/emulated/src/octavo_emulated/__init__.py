"""An emulated device: the torch base on a device that is not the host, without any hardware.

Real accelerators differ from a CPU where a CPU forgives: their tensors do not mix with the
host's, their memory ends, waiting for them stalls the next launch, and each new shape may be
compiled for seconds. This device is host memory behind torch's own dispatch that is strict
about all four, so that the base, and whoever writes a plugin on it, is tested everywhere.

    build         compiles emulator.cpp, once
    device        its name and size, without torch
    emulator      the device: memory, limits, what a launch did
    launches      a program whose every launch is watched

It is found by name alone and never chosen unasked. Knows no vendor.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo_emulated.device import NAME, discover, probe
from octavo_emulated.launches import Watching
from octavo_platforms.capabilities import MemoryStats
from octavo_platforms.ladder import Ladder, climbing
from octavo_platforms.program import ProgramDef
from octavo_platforms.shapes import EXACT, ShapePolicy
from octavo_torch import TorchPlatform


def bucketed(program: ProgramDef) -> ShapePolicy:
    """Give few sizes: tokens, rows and table widths climb, everything else has its largest."""
    steep = Ladder(least=4, factor=4)
    return climbing(program, {"T": Ladder(least=8, factor=2), "S": steep, "M": steep})


def exact(program: ProgramDef) -> ShapePolicy:
    """Give no sizes: every step runs as it is."""
    return EXACT


def emulated(*, is_bucketed: bool = True, overrides: Sequence[object] = ()) -> TorchPlatform:
    """Make the platform, with buckets or without; `overrides` are asked first."""
    shapes = bucketed if is_bucketed else None
    return TorchPlatform(
        name="emulated",
        device=NAME,
        vendor="none",
        dtypes=("float32", "bfloat16", "float16"),
        probe=probe,
        discover=discover,
        stats=_stats,
        overrides=(*overrides, Watching(shapes or exact)),
        standing="emulated",
        extension=_start,
        shapes=shapes,
    )


def _stats(index: int) -> MemoryStats:
    from octavo_emulated.emulator import emulator

    return emulator().stats()


def _start() -> None:
    from octavo_emulated.emulator import emulator

    emulator()


platform = emulated()
