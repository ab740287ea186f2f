"""A Llama that keeps its tokens and lengths on the device, and checks drafts there.

    step     some tokens of each request's context, and one chosen for each request
    verify   the same, the last tokens being drafts, and one chosen after each of these
    propose  sets what the drafter will say

The first two leave, for each seat, the last token, the next drafts, and how much is computed,
so that a launch can follow which the host makes without having read the one before:
`token_from` 1 is the last token, 2 and more are the drafts. The drafter is a table of tokens
by the number of computed positions. It stands for any: what matters is that nobody on the
host sees what it says.

Knows nothing of scheduling.
"""

from __future__ import annotations

from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo.models import dense
from octavo.models.decoder import Layer, Limits
from octavo.models.spec import DecoderSpec
from octavo.testing.toys.checking import NUM_DRAFTS, WIDTH, checked, keep
from octavo_platforms.graph import Value
from octavo_platforms.program import ProgramDef


def program(toy: DecoderSpec, *, limits: Limits, layer: Layer = dense.layer) -> ProgramDef:
    """Write the toy in float32, as yet without passes, around a layer."""
    made = ProgramBuilder("draft", dtype="float32", symbols=limits.symbols())
    for name, width in (("step", 1), ("verify", WIDTH)):
        _entry(made.entry(name), toy, layer, limits, width=width)
    g = made.entry("propose")
    size = limits.max_blocks * limits.block_size
    at = g.input("at", (size,), "int32")
    for draft, table in enumerate(_proposals(g, limits), 1):
        g.op("scatter_rows", table, at, g.input(f"draft.{draft}", (size,), "int32"))
    return made.finish()


def _entry(g: GraphBuilder, toy: DecoderSpec, layer: Layer, limits: Limits, *, width: int) -> None:
    found = checked(g, toy, limits, width=width, layer=layer)
    for k, table in enumerate(_proposals(g, limits), 2):
        keep(g, f"seat.token.{k}", g.one("gather_rows", table, found.now))


def _proposals(g: GraphBuilder, limits: Limits) -> list[Value]:
    most = limits.max_blocks * limits.block_size
    return [g.buffer(f"proposals.{k}", (most,), "int32") for k in range(1, 1 + NUM_DRAFTS)]
