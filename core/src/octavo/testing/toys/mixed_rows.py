"""A Llama that reads rows of an encoder, or of the caller, among its tokens: as Qwen2-VL does.

    encode   patches of pictures to rows, which `encoder_rows` keeps where `keep_at` says
    keep     rows that the caller has, kept likewise
    forward  tokens, and the kept rows that `embed_rows` names instead of some of them
    sample   logits to tokens

It proves that what else a model reads are named inputs along its tokens, so that chunks end where
they will: `embed_rows` [T], 0 for text, and `rope_offsets` [3, T], the place in time, height and
width less the token's position, 0 for text before any picture. Source: arXiv 2409.12191.
"""

from __future__ import annotations

from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo.models import dense
from octavo.models.choosing import sample, tokens
from octavo.models.decoder import Limits, R, S, T, context_of, embedded, head, through
from octavo.models.rope import RopeSpec
from octavo.models.spec import DecoderSpec
from octavo.testing.toys.pooled import encoded
from octavo_platforms.graph import Dim, Value
from octavo_platforms.program import Plane, ProgramDef, StateSpec
from octavo_platforms.tensor import DType

ENCODE, KEEP = "encode", "keep"
NUM_ROWS, PATCH_WIDTH = 33, 12
SECTIONS = (0, 1, 1, 2)


def program(toy: DecoderSpec, *, limits: Limits, dtype: DType = "float32") -> ProgramDef:
    """Write the toy, as yet without passes."""

    def keep(g: GraphBuilder, x: Value) -> None:
        g.op("scatter_rows", kept(g), g.input("keep_at", (T,), "int32"), x)

    def kept(g: GraphBuilder) -> Value:
        return g.buffer("encoder_rows", (NUM_ROWS, toy.width), dtype)

    made = ProgramBuilder("mixed_rows", dtype=dtype, symbols=limits.symbols())
    g = made.entry(ENCODE)
    ids, starts = (
        g.input("token_ids", (T,), "int32"),
        g.input("query_starts", (Dim("R", plus=1),), "int32"),
    )
    positions = g.one("positions", ids, starts, g.input("computed", (R,), "int32"))
    with g.scope("encoder"):
        patches = g.linear(g.input("patches", (T, PATCH_WIDTH), dtype), "patch", toy.width)
        keep(g, encoded(g, patches, toy, starts, positions))
    g = made.entry(KEEP)
    keep(g, g.input("given_rows", (T, toy.width), dtype))
    g = made.entry("forward")
    planes = tuple(Plane(name, (toy.kv_heads, toy.head_width), dtype) for name in "kv")
    kv = StateSpec("kv", "paged", planes, toy.layers, limits.block_size)
    context = context_of(g, toy, kv, g.input("computed", (R,), "int32"), rope=_table)
    x = embedded(g, toy, tokens(g))
    x = g.one("mix_rows", x, g.input("embed_rows", (T,), "int32"), kept(g))
    x = through(g, x, dense.layer, context)
    g.output("logits", head(g, toy, x, g.input("rows", (S,), "int32")))
    sample(made.entry("sample"), toy.vocab_size, dtype=dtype)
    return made.finish()


def _table(g: GraphBuilder, positions: Value, frequencies: Value, rope: RopeSpec) -> Value:
    offsets = g.input("rope_offsets", (3, T), "int32")
    return g.one(
        "rope_sections", positions, offsets, frequencies, factor=rope.factor, sections=SECTIONS
    )
