"""The contract between Octavo's core and the devices it runs on.

A model is a `ProgramDef` (program) of entries; an entry is a `Graph` (graph) over the op
catalogue (ops). A platform is a plugin object that implements some of the hooks (hooks).
The life of a program here:

    discover.load("cpu") ─> Platform          which plugin, and what stands behind it
    bind(program, platform, context)          a kernel for each node, from shapes alone
    place(program, binding, source, memory)   each weight once, by its recipe
    platform.compile(CompileSpec(...))        ready to launch
    program.launch(StepInputs) ─> Pending ─> StepResult      (inputs), once a step

Nothing here starts a thread or opens a device. A plugin author imports from these modules
and from nothing else of Octavo; `contract.lock` holds their public face, and changing it
raises the contract's number (version). To test a platform, run `octavo-conformance`.
"""

from __future__ import annotations

from octavo_platforms.bind import bind
from octavo_platforms.hooks import hookimpl
from octavo_platforms.place import place
from octavo_platforms.version import CONTRACT

__all__ = ["CONTRACT", "bind", "hookimpl", "place"]
