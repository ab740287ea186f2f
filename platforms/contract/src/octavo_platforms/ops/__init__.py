"""The op catalogue: what a model may be made of.

A model definition writes ops into a graph; each op's shape rule gives the types of its
outputs; when a program is bound, each node asks its op's hook for a kernel, and a compound
that nobody claims is replaced by its decomposition. The oracle of the conformance suite
says in float64 what every op means. To add an op: a shape rule with its shapes in the first
line, an `Op` in the family's `OPS`, an oracle function, a tolerance, a conformance case. A
plugin adds its own through the hook `private_ops` (private).

The ops of `latent`, `recurrent`, `experts`, `encoder`, `cross`, `mixed` and `adapters`, and windows
of `attention`, only some models need: a platform that refuses them runs all others. Those of
`ranks` only programs of several ranks have.
"""

from __future__ import annotations

from octavo_platforms.ops import (
    adapters,
    choice,
    cross,
    dense,
    encoder,
    experts,
    latent,
    mixed,
    ranks,
    recurrent,
    rows,
    scores,
    seats,
    shaping,
    state,
)
from octavo_platforms.ops.op import Attrs, Catalogue, Emit, Emitter, Hook, Op, ShapeError
from octavo_platforms.ops.private import PrivateOp, Sample

STANDARD = Catalogue(
    [
        *rows.OPS,
        *dense.OPS,
        *state.OPS,
        *latent.OPS,
        *recurrent.OPS,
        *choice.OPS,
        *scores.OPS,
        *shaping.OPS,
        *seats.OPS,
        *experts.OPS,
        *encoder.OPS,
        *cross.OPS,
        *mixed.OPS,
        *adapters.OPS,
        *ranks.OPS,
    ]
)

__all__ = [
    "STANDARD", "Attrs", "Catalogue", "Emit", "Emitter", "Hook", "Op", "PrivateOp", "Sample",
    "ShapeError",
]  # fmt: skip
