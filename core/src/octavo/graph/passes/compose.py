"""Compose entries into one: the outputs of each are the inputs of the next. Taps stay outputs.

`forward` then `sample` becomes `step`, for platforms that run both in one launch.

Knows nothing of what the entries compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from octavo.graph.passes.rewrite import Copy
from octavo_platforms.graph import GraphWriter, Value
from octavo_platforms.inputs import is_tap
from octavo_platforms.program import ProgramDef


def composed(program: ProgramDef, name: str, entries: Sequence[str]) -> ProgramDef:
    """Add an entry that runs `entries` in order; outputs are those of the last, and all taps."""
    writer = GraphWriter()
    made: dict[str, Value] = {}
    taps: dict[str, Value] = {}
    for entry in entries:
        graph = program.entries[entry]
        copy = Copy(graph, writer, given=made)
        for node in graph.nodes:
            copy.node(node)
        made = {output: copy.at[value] for output, value in graph.outputs}
        taps |= {output: value for output, value in made.items() if is_tap(output)}
    for output, value in (taps | made).items():
        writer.output(output, value)
    return replace(program, entries={**program.entries, name: writer.finish()})
