"""What decoder-only families share: a step's causes in, logits out, and tokens from logits.

Two entries make a generator. `forward` takes tokens to the logits of chosen rows; `sample`
takes logits to tokens. A family's file says what one layer does to the rows.

Knows no family.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo.models.spec import DecoderSpec
from octavo_platforms.graph import Dim, Value
from octavo_platforms.ops.state import Lengths
from octavo_platforms.program import Plane, ProgramDef, StateSpec, Symbol
from octavo_platforms.tensor import DType, host

T, R, S, M, U, N = (Dim(symbol) for symbol in "TRSMUN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The largest sizes that a program is made for.

    Units: tokens and requests of a step; blocks of a request; slots of a block.
    """

    max_step_tokens: int
    max_requests: int
    max_blocks: int
    block_size: int

    def symbols(self) -> tuple[Symbol, ...]:
        """Give the symbols of the launch face. Seat 0 is the null seat, so N is one more."""
        return (
            Symbol("T", self.max_step_tokens),
            Symbol("R", self.max_requests),
            Symbol("S", self.max_requests),
            Symbol("M", self.max_blocks),
            Symbol("U", self.max_requests),
            Symbol("N", self.max_requests + 1),
        )


@dataclass(frozen=True, slots=True)
class Context:
    """What every layer of one entry reads: the step's causes, and positions made from them."""

    spec: DecoderSpec
    kv: StateSpec
    query_starts: Value
    computed: Value
    block_table: Value
    slots: Value
    rope_table: Value
    lengths: Lengths


Layer = Callable[[GraphBuilder, Value, Context, int], Value]


def generator(spec: DecoderSpec, layer: Layer, *, dtype: DType, limits: Limits) -> ProgramDef:
    """Write the program of a decoder-only model around its layer."""
    program = ProgramBuilder(spec.architecture, dtype=dtype, symbols=limits.symbols())
    forward(program.entry("forward"), spec, layer, dtype=dtype, limits=limits)
    sample(program.entry("sample"), spec.vocab_size, dtype=dtype)
    return program.finish()


def forward(
    g: GraphBuilder, spec: DecoderSpec, layer: Layer, *, dtype: DType, limits: Limits
) -> None:
    """Write the entry `forward`: tokens to the logits of the chosen rows."""
    token_ids = g.input("token_ids", (T,), "int32")
    computed = g.input("computed", (R,), "int32")
    rows = g.input("rows", (S,), "int32")
    x = hidden(g, spec, layer, token_ids, computed, dtype=dtype, limits=limits)
    g.output("logits", head(g, spec, x, rows))


def hidden(
    g: GraphBuilder,
    spec: DecoderSpec,
    layer: Layer,
    token_ids: Value,
    computed: Value,
    *,
    dtype: DType,
    limits: Limits,
    lengths: Lengths = "host",
) -> Value:
    """Write tokens to hidden rows; `lengths` says who knows what is computed."""
    heads = (spec.kv_heads, spec.head_width)
    planes = (Plane("k", heads, dtype), Plane("v", heads, dtype))
    kv = StateSpec("kv", "paged", planes, spec.layers, limits.block_size)
    query_starts = g.input("query_starts", (Dim("R", plus=1),), "int32")
    block_table = g.input("block_table.kv", (R, M), "int32")
    frequencies = g.literal("rope.frequencies", host(spec.rope.array()))
    with g.scope("model"):
        positions = g.one("positions", token_ids, query_starts, computed)
        slots = g.one("slots", positions, query_starts, block_table, block_size=limits.block_size)
        table = g.one("rope_table", positions, frequencies, factor=spec.rope.factor)
        context = Context(spec, kv, query_starts, computed, block_table, slots, table, lengths)
        with g.scope("embed_tokens"):
            x = g.one("embedding", embeddings(g, spec), token_ids)
        for index in range(spec.layers):
            with g.scope(f"layers.{index}"):
                x = layer(g, x, context, index)
    return x


def head(g: GraphBuilder, spec: DecoderSpec, x: Value, rows: Value) -> Value:
    """Write hidden rows to the logits of chosen ones."""
    with g.scope("model"):
        x = g.one("gather_rows", x, rows)
        x = g.rms_norm(x, "norm", eps=spec.eps)
    if not spec.tied_embeddings:
        return g.linear(x, "lm_head", spec.vocab_size)
    with g.scope("lm_head"):
        return g.one("linear", x, embeddings(g, spec))


def embeddings(g: GraphBuilder, spec: DecoderSpec) -> Value:
    """Declare the table of embeddings."""
    return g.weight("model.embed_tokens.weight", (spec.vocab_size, spec.width))


def sample(g: GraphBuilder, vocab_size: int, *, dtype: DType) -> None:
    """Write the entry `sample`: logits to tokens, by the settings that seats keep."""
    logits = g.input("logits", (S, vocab_size), dtype)
    rows = g.input("rows", (S,), "int32")
    query_starts = g.input("query_starts", (Dim("R", plus=1),), "int32")
    computed = g.input("computed", (R,), "int32")
    seat = g.input("seat", (R,), "int32")
    token_ids = g.input("token_ids", (T,), "int32")
    with g.scope("sample"):
        settings = sampling(g)
        positions = g.one("positions", token_ids, query_starts, computed)
        row_positions = g.one("gather_rows", positions, rows)
        row_seats = g.one("gather_rows", seat, g.one("request_of", rows, query_starts))
        g.output("tokens", g.one("sample", logits, settings, row_seats, row_positions))


def sampling(g: GraphBuilder) -> Value:
    """Declare the settings that seats keep, after writing those that changed."""
    settings = g.buffer("seat_sampling", (N, 3), "uint32")
    changed = g.input("sampling_seats", (U,), "int32")
    g.op("scatter_rows", settings, changed, g.input("sampling_values", (U, 3), "uint32"))
    return settings
