"""Acme's device, for which PyTorch's CPU stands in: the torch base and one kernel of its own."""

from __future__ import annotations

import os

from octavo_platforms import hookimpl
from octavo_platforms.capabilities import DeviceInfo, MemoryStats, Probe
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec
from octavo_torch import TorchPlatform


class Kernels:
    """What Acme does better than plain PyTorch."""

    @hookimpl
    def bind_op(self, spec: OpSpec) -> Kernel | None:
        """Give the gate; leave every other op to the base."""
        if spec.op != "silu_gate":
            return None
        from .gate import silu_gate

        return Kernel(name="acme.silu_gate", run=silu_gate)


def stats(index: int) -> MemoryStats:
    """Tell how much memory there is, and how much of it this process does not hold."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = page * os.sysconf("SC_PHYS_PAGES")
    with open("/proc/self/statm") as mine:
        return MemoryStats(total, total - page * int(mine.read().split()[1]))


platform = TorchPlatform(
    name="acme",
    device="cpu",
    vendor="Acme",
    dtypes=("float32", "bfloat16"),
    probe=lambda: Probe(True, "one Acme One; it runs where it is named", 0),
    discover=lambda: (DeviceInfo(0, "Acme One", stats(0).total_bytes),),
    stats=stats,
    overrides=[Kernels()],
)
