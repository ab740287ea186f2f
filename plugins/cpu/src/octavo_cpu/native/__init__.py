"""A whole program as one call: the CPU platform `cpu_native`, in C++ and without torch.

    platform     the hooks; answers every op with an instruction
    operations   which specs there is an instruction for, and why not for the others
    lower        a bound entry as flat lists of values and instructions
    scratch      where a launch's own values lie, planned once
    program      what was compiled: one call of the library a launch
    memory       tensors in the library's memory; the opened host
    library      the compiled library, as Python sees it
    compiler     makes it of the sources in `plugins/cpu/native`
    build        the same by hand: `python -m octavo_cpu.native.build`

A program is handed to the library once, when it is compiled; a launch is one call that runs
from the first instruction to the last and fills the outputs. Nothing is compiled when this is
imported or first used: the package's build does that. It is right rather than fast, and
chosen only when it is named: `--device cpu_native`. Test it with `plugins/cpu/tests`.
"""

from __future__ import annotations

from octavo_cpu.native.platform import NativePlatform

platform = NativePlatform()
