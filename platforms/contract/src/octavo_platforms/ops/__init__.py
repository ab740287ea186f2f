"""The op catalogue: what a model may be made of.

A model definition writes ops into a graph; each op's shape rule gives the types of its
outputs; when a program is bound, each node asks its op's hook for a kernel, and a compound
that nobody claims is replaced by its decomposition. The oracle of the conformance suite
says in float64 what every op means. To add an op: a shape rule with its shapes in the first
line, an `Op` in the family's `OPS`, an oracle function, a tolerance, a conformance case.
"""

from __future__ import annotations

from octavo_platforms.ops import choice, dense, rows, state
from octavo_platforms.ops.op import Attrs, Catalogue, Emit, Emitter, Hook, Op, ShapeError

STANDARD = Catalogue([*rows.OPS, *dense.OPS, *state.OPS, *choice.OPS])

__all__ = ["STANDARD", "Attrs", "Catalogue", "Emit", "Emitter", "Hook", "Op", "ShapeError"]
