"""What decoder-only families share: a step's causes in, logits out.

Two entries make a generator. `forward` takes tokens to the logits of chosen rows; `sample`
takes logits to tokens (`choosing`), and seats keep them, so that the next step can be launched
before the host has read this one. `forward_kept` also gives the hidden rows, for `score` to tell
how likely a prompt was. A family's file says what one layer does to the rows.

Knows no family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo.models.choosing import DEFAULT_LOGPROBS, MAX_SCORES, choices, symbols, tokens, told
from octavo.models.norms import norm
from octavo.models.rope import RopeSpec
from octavo.models.spec import DecoderSpec
from octavo_platforms.graph import Dim, Value
from octavo_platforms.ops.state import Lengths
from octavo_platforms.program import Plane, ProgramDef, StateSpec, Symbol
from octavo_platforms.tensor import DType, cast, host, to_float

T, R, S, M, N, Q = (Dim(symbol) for symbol in "TRSMNQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The largest sizes that a program is made for.

    Units: tokens and requests of a step; blocks of a request; slots of a block; likeliest ids
        that are told of a token.
    """

    max_step_tokens: int
    max_requests: int
    max_blocks: int
    block_size: int
    max_logprobs: int = DEFAULT_LOGPROBS

    def generating(self) -> tuple[Symbol, ...]:
        """Give all symbols of a program that generates."""
        own = symbols(
            max_requests=self.max_requests, max_context_tokens=self.max_blocks * self.block_size
        )
        scores = min(MAX_SCORES, self.max_step_tokens)
        return (*self.symbols(), Symbol("Q", scores), *own)

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
class Memory:
    """A state that is overwritten as it goes, and the rows that a step reads and writes of it."""

    state: StateSpec
    source: Value
    targets: Value


@dataclass(frozen=True, slots=True)
class Blocks:
    """A state that stands in blocks, which blocks requests have, and a slot for each new token."""

    state: StateSpec
    table: Value
    slots: Value


@dataclass(frozen=True, slots=True)
class Context:
    """What every layer of one entry reads: the step's causes, and positions made from them.

    There are no `blocks` where no layer attends, and no `positions` where nobody asks for them.
    """

    spec: DecoderSpec
    query_starts: Value
    computed: Value
    blocks: Blocks | None
    positions: Value | None
    tables: Mapping[RopeSpec, Value]
    lengths: Lengths
    memory: Memory | None = None

    @property
    def kv(self) -> StateSpec:
        """Give the state that layers attend to."""
        return self._held.state

    @property
    def block_table(self) -> Value:
        """Give the blocks of each request."""
        return self._held.table

    @property
    def slots(self) -> Value:
        """Give the slot of each token."""
        return self._held.slots

    @property
    def _held(self) -> Blocks:
        assert self.blocks is not None, "a model whose layers attend has blocks"
        return self.blocks

    @property
    def rope_table(self) -> Value:
        """Give the table of the spec's own rotary positions."""
        return self.tables[self.spec.rope]


Layer = Callable[[GraphBuilder, Value, Context, int], Value]
Rope = Callable[[GraphBuilder, Value, Value, RopeSpec], Value]


def generator(
    spec: DecoderSpec,
    layer: Layer,
    *,
    dtype: DType,
    limits: Limits,
    planes: tuple[Plane, ...] | None = None,
) -> ProgramDef:
    """Write the program of a decoder-only model around its layer.

    `planes` are what a slot holds in each layer: keys and values, where nothing is said.
    """
    program = ProgramBuilder(spec.architecture, dtype=dtype, symbols=limits.generating())
    entry = program.entry("forward")
    forward(entry, spec, layer, dtype=dtype, limits=limits, planes=planes)
    choices(program, spec.vocab_size, dtype=dtype, max_logprobs=limits.max_logprobs)
    entry = program.entry("forward_kept", is_optional=True)
    x = forward(entry, spec, layer, dtype=dtype, limits=limits, planes=planes)
    entry.output("hidden", x)
    score(program.entry("score", is_optional=True), spec, dtype=dtype, count=limits.max_logprobs)
    return program.finish()


def forward(
    g: GraphBuilder,
    spec: DecoderSpec,
    layer: Layer,
    *,
    dtype: DType,
    limits: Limits,
    planes: tuple[Plane, ...] | None = None,
) -> Value:
    """Write the entry `forward`: tokens to the logits of the chosen rows; gives all hidden rows."""
    computed = g.input("computed", (R,), "int32")
    rows = g.input("rows", (S,), "int32")
    x = hidden(g, spec, layer, tokens(g), computed, dtype=dtype, limits=limits, planes=planes)
    g.output("logits", head(g, spec, x, rows))
    return x


def score(g: GraphBuilder, spec: DecoderSpec, *, dtype: DType, count: int) -> None:
    """Write the entry `score`: how likely ids are after hidden rows that `forward_kept` gave.

    A prompt is scored in chunks, so that no launch holds logits of all its tokens.
    """
    x = g.input("hidden", (T, spec.width), dtype)
    rows, ids = (g.input(name, (Q,), "int32") for name in ("score_rows", "score_ids"))
    logits = head(g, spec, x, rows)
    with g.scope("score"):
        told(g, logits, ids, count=min(count, spec.vocab_size))


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
    planes: tuple[Plane, ...] | None = None,
) -> Value:
    """Write tokens to hidden rows; `lengths` says who knows what is computed."""
    heads = (spec.kv_heads, spec.head_width)
    keys_and_values = (Plane("k", heads, dtype), Plane("v", heads, dtype))
    kv = None
    if spec.kv_layers:
        kept = planes or keys_and_values
        kv = StateSpec("kv", "paged", kept, spec.kv_layers, limits.block_size)
    context = context_of(g, spec, kv, computed, lengths=lengths)
    if spec.memory is not None:
        context = replace(context, memory=remembered(g, spec.memory.state(dtype), context))
    x = placed(g, embedded(g, spec, token_ids), context)
    if spec.norms.embedding is not None:
        with g.scope("model"):
            x = norm(g, x, spec.norms.embedding, spec, has_bias=spec.norm.has_bias)
    return through(g, x, layer, context)


def context_of(
    g: GraphBuilder,
    spec: DecoderSpec,
    kv: StateSpec | None,
    computed: Value,
    *,
    lengths: Lengths = "host",
    rope: Rope | None = None,
) -> Context:
    """Write what every layer reads; `rope` makes the rotary table, of positions by default."""
    query_starts = g.input("query_starts", (Dim("R", plus=1),), "int32")
    if kv is None and spec.places is None and not spec.ropes():
        return Context(spec, query_starts, computed, None, None, {}, lengths)
    block_table = None
    if kv is not None:
        block_table = g.input(f"block_table.{kv.name}", (R, M), "int32")
    given = g.input("token_ids", (T,), "int32")  # where tokens stand depends on none of them
    with g.scope("model"):
        positions = g.one("positions", given, query_starts, computed)
        blocks = None
        if kv is not None and block_table is not None:
            size = kv.block_size
            slots = g.one("slots", positions, query_starts, block_table, block_size=size)
            blocks = Blocks(kv, block_table, slots)
        make = rope or _table
        tables = {
            each: make(g, positions, _frequencies(g, each, index), each)
            for index, each in enumerate(spec.ropes())
        }
    return Context(spec, query_starts, computed, blocks, positions, tables, lengths)


def remembered(g: GraphBuilder, state: StateSpec, context: Context) -> Memory:
    """Write which rows of a state the step goes on from, and which it writes."""
    rings = g.input(f"state_rows.{state.name}", (R, state.ring), "int32")
    with g.scope("model"):
        source, targets = g.op("ring_rows", context.query_starts, context.computed, rings)
    return Memory(state, source, targets)


def _frequencies(g: GraphBuilder, rope: RopeSpec, index: int) -> Value:
    name = f"rope.frequencies.{index}" if index else "rope.frequencies"
    return g.literal(name, host(rope.array()))


def _table(g: GraphBuilder, positions: Value, frequencies: Value, rope: RopeSpec) -> Value:
    return g.one("rope_table", positions, frequencies, factor=rope.factor)


def embedded(g: GraphBuilder, spec: DecoderSpec, token_ids: Value) -> Value:
    """Write tokens to their embeddings."""
    with g.scope("model"), g.scope("embed_tokens"):
        x = g.one("embedding", embeddings(g, spec), token_ids)
        factor = spec.scales.embedding
        if factor is None:
            return x
        if spec.scales.embedding_rounded:
            rounded = to_float(cast(host(np.asarray([factor], np.float32)), g.type_of(x).dtype))
            factor = float(rounded[0])
        return g.one("scale", x, factor=factor)


def placed(g: GraphBuilder, x: Value, context: Context) -> Value:
    """Write rows of embeddings to what also says where they stand, where positions are learned."""
    spec = context.spec
    if spec.places is None:
        return x
    assert context.positions is not None, "learned positions are of positions"
    rows = spec.places.rows - spec.places.skipped
    with g.scope("model"), g.scope("embed_positions"):
        table = g.weight(g.place("weight"), (rows, spec.width))
        return g.one("add", x, g.one("embedding", table, context.positions))


def through(g: GraphBuilder, x: Value, layer: Layer, context: Context) -> Value:
    """Write rows through all layers."""
    with g.scope("model"):
        for index in range(context.spec.layers):
            with g.scope(f"layers.{index}"):
                x = layer(g, x, context, index)
    return x


def head(g: GraphBuilder, spec: DecoderSpec, x: Value, rows: Value) -> Value:
    """Write hidden rows to the logits of chosen ones."""
    with g.scope("model"):
        x = g.one("gather_rows", x, rows)
        x = norm(g, x, "norm", spec, has_bias=spec.norm.has_bias)
    if not spec.tied_embeddings:
        logits = g.linear(x, "lm_head", spec.vocab_size, bias=spec.logits_bias)
    else:
        with g.scope("lm_head"):
            logits = g.one("linear", x, embeddings(g, spec))
    factor, cap = spec.scales.logits, spec.scales.logits_cap
    with g.scope("lm_head"):
        if factor is not None:
            logits = g.one("scale", logits, factor=factor)
        return logits if cap is None else g.one("softcap", logits, cap=cap)


def embeddings(g: GraphBuilder, spec: DecoderSpec) -> Value:
    """Declare the table of embeddings."""
    return g.weight("model.embed_tokens.weight", (spec.vocab_size, spec.width))
