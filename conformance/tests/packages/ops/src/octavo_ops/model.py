"""A private model: it embeds tokens, gates them with a private op, and counts what it read."""

from __future__ import annotations

from octavo.graph.builder import ProgramBuilder
from octavo_platforms.graph import Dim
from octavo_platforms.ops import Catalogue
from octavo_platforms.program import ProgramDef, Symbol
from octavo_platforms.tensor import DType

VOCAB, WIDTH = 11, 8
T = Dim("T")


def program(catalogue: Catalogue, dtype: DType) -> ProgramDef:
    """Write the model; `catalogue` is that of a platform that registers the private ops."""
    symbols = tuple(Symbol(name, 64) for name in "TRSMU")
    model = ProgramBuilder("acme", dtype=dtype, symbols=symbols, catalogue=catalogue)
    g = model.entry("forward")
    ids = g.input("token_ids", (T,), "int32")
    x = g.one("embedding", g.weight("embed.weight", (VOCAB, WIDTH)), ids)
    with g.scope("gate"):
        y = g.one("acme::square_gate", x, g.weight("gate.weight", (WIDTH, WIDTH)))
        g.op("acme::count", g.buffer("counts", (VOCAB,), "int32"), ids)
    g.output("out", g.linear(y, "head", 4))
    counts = model.entry("counts")
    rows = counts.input("token_ids", (T,), "int32")
    kept = counts.buffer("counts", (VOCAB,), "int32")
    counts.output("counts", counts.one("gather_rows", kept, rows))
    return model.finish()
