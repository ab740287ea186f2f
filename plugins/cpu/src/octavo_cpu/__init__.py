"""Octavo on the host's own CPU: the torch base, and three kernels that know what a CPU likes.

    host        what the machine is, without torch
    overrides   which specs the kernels are for
    kernels     packed linear layers, attention as batched products, a quick choice

Everything else is the base's. Knows nothing of models.
"""

from __future__ import annotations

from octavo_cpu.host import discover, probe, stats
from octavo_cpu.overrides import CpuKernels
from octavo_torch import TorchPlatform

platform = TorchPlatform(
    name="cpu",
    device="cpu",
    vendor="host",
    dtypes=("bfloat16", "float32", "float16"),
    probe=probe,
    discover=discover,
    stats=stats,
    overrides=(CpuKernels(),),
)
