"""Add the entry `copy`: rows of recurrent states become what others are, in every layer.

    copy_from.<group>, copy_to.<group>   int32 [copies] ─state_copy─> each layer of the group

A snapshot is a copy to a row of nobody's ring, launched behind the step that ends where it is to
be taken; a request continues from one by a copy into its own ring. The entry is optional: a
platform that cannot copy runs the model without snapshots.

Knows nothing of who takes snapshots, nor when.
"""

from __future__ import annotations

from dataclasses import replace

from octavo_platforms.graph import Dim, GraphWriter, StateType, TensorType
from octavo_platforms.program import ProgramDef, Symbol

COPY = "copy"
COPIES = "copies"


def with_copies(program: ProgramDef, *, most: int) -> ProgramDef:
    """Give the program with an entry that copies up to `most` rows of each recurrent group.

    A program without such groups stays as it is, and so does one that has the entry.
    """
    states = [state for state in program.states if state.kind == "recurrent"]
    if not states or COPY in program.entries:
        return program
    writer = GraphWriter()
    numbers = TensorType((Dim(COPIES),), "int32")
    for state in states:
        names = (f"{way}.{state.name}" for way in ("copy_from", "copy_to"))
        rows = [writer.leaf("input", name, numbers) for name in names]
        for layer in range(state.layers):
            leaf = writer.leaf("state", f"{state.name}.{layer}", StateType(state.name, layer))
            writer.node("state_copy", (*rows, leaf), (), attrs={}, scope=f"{state.name}.{layer}")
    return replace(
        program,
        entries={**program.entries, COPY: writer.finish()},
        symbols=(*program.symbols, Symbol(COPIES, most)),
        optional=program.optional | {COPY},
    )
