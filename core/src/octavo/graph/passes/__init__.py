"""Passes: programs in, equivalent programs out.

`optimised` is the list that every model goes through, in order. Each pass is a file with one
function on one graph or on one program; each can be left out without changing a result beyond
rounding. `sharded` goes before it, where several ranks run a model.
"""

from __future__ import annotations

from octavo.graph.passes.compose import composed
from octavo.graph.passes.copies import with_copies
from octavo.graph.passes.fuse import fused
from octavo.graph.passes.merge import merged
from octavo.graph.passes.shard import sharded
from octavo.graph.passes.windows import with_windows
from octavo_platforms.program import ProgramDef

__all__ = ["composed", "fused", "merged", "optimised", "sharded", "with_copies", "with_windows"]


def optimised(program: ProgramDef, *, one_step: bool) -> ProgramDef:
    """Merge, fuse, and with `one_step` join `forward` and `sample`, if there, as `step`."""
    better = fused(merged(program))
    if one_step and better.entries.keys() >= {"forward", "sample"}:
        return composed(better, "step", ("forward", "sample"))
    return better
