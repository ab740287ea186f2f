"""The CPU platform with one thing replaced: attention, in a layout of its own.

`heads` keeps a block's heads apart, which the base can write as well, so it attends.
`columns` keeps features apart, which the base cannot write, so it has to give way.
"""

from __future__ import annotations

from dataclasses import replace

from octavo_cpu import platform as cpu
from octavo_platforms import hookimpl
from octavo_platforms.capabilities import PlatformInfo, Probe
from octavo_platforms.platform import StateKernel, StateLayout, Unsupported
from octavo_platforms.specs import AttentionSpec


class Fork:
    """The CPU's platform stands behind this one and answers everything else."""

    def __init__(self, name: str, layout: StateLayout) -> None:
        self._info = replace(cpu.platform_info(), name=name, extends="cpu")
        self._layout = layout

    @hookimpl
    def platform_info(self) -> PlatformInfo:
        """Promise what the CPU promises, under another name."""
        return self._info

    @hookimpl
    def probe(self) -> Probe:
        """Be there, and never be chosen unasked."""
        return Probe(True, "the CPU, with attention of its own", 0)

    @hookimpl
    def bind_attention(self, spec: AttentionSpec) -> StateKernel | Unsupported:
        """Give attention in the one layout that it knows."""
        if spec.window is not None or spec.sinks or spec.slopes or spec.softcap is not None:
            return Unsupported("it sees whole contexts, without sinks, slopes or caps")
        if spec.lengths == "device":
            return Unsupported("it learns the lengths of contexts from the host")
        from .attention import kernel

        return StateKernel(
            name="fork.attention", layouts=(self._layout,), at=lambda layout: kernel(spec, layout)
        )


heads = Fork("acme_heads", StateLayout("heads of a block", ("B", "K", "P", "D")))
columns = Fork("acme_columns", StateLayout("columns", ("B", "K", "D", "P")))
