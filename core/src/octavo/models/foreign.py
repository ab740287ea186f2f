"""Programs for models without a graph: what core says of them, around what a platform brings.

`tokens` says which ids the model reads: those given, or what seats keep. `attend`
is what it does wherever it attends: write the new keys and values into its blocks, then look
back. What chooses tokens is everyone's (`choosing`). `octavo_platforms.foreign` says how a
platform puts its own code between them.

Knows nothing of what that code is.
"""

from __future__ import annotations

from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo.models.choosing import choices, tokens
from octavo.models.decoder import Limits, M, R, T
from octavo_platforms.foreign import ForeignAttention, ForeignModel
from octavo_platforms.graph import Dim
from octavo_platforms.program import Plane, ProgramDef, StateSpec
from octavo_platforms.tensor import DType


def foreign_program(model: ForeignModel, *, dtype: DType, limits: Limits) -> ProgramDef:
    """Write the program of a model that a platform runs."""
    program = ProgramBuilder(model.name, dtype=dtype, symbols=limits.generating())
    kv = program.state(_state(model.attention, dtype=dtype, limits=limits))
    g = program.entry("tokens")
    g.output("token_ids", tokens(g))
    attend(program.entry("attend"), model.attention, kv, dtype=dtype)
    choices(program, model.vocab_size, dtype=dtype, max_logprobs=limits.max_logprobs)
    return program.finish()


def attend(g: GraphBuilder, attention: ForeignAttention, kv: StateSpec, *, dtype: DType) -> None:
    """Write the entry `attend`, on the first layer."""
    heads, kv_heads, width = attention.num_heads, attention.num_kv_heads, attention.head_width
    token_ids = g.input("token_ids", (T,), "int32")
    query_starts = g.input("query_starts", (Dim("R", plus=1),), "int32")
    computed = g.input("computed", (R,), "int32")
    block_table = g.input("block_table.kv", (R, M), "int32")
    q = g.input("q", (T, heads, width), dtype)
    k = g.input("k", (T, kv_heads, width), dtype)
    v = g.input("v", (T, kv_heads, width), dtype)
    with g.scope("attend"):
        positions = g.one("positions", token_ids, query_starts, computed)
        slots = g.one("slots", positions, query_starts, block_table, block_size=kv.block_size)
        state = g.state(kv, 0)
        g.op("kv_write", k, v, slots, state)
        attended = g.one(
            "attention",
            q,
            query_starts,
            computed,
            block_table,
            state,
            scale=attention.scale,
            num_kv_heads=kv_heads,
        )
    g.output("positions", positions)
    g.output("attended", attended)


def _state(attention: ForeignAttention, *, dtype: DType, limits: Limits) -> StateSpec:
    heads = (attention.num_kv_heads, attention.head_width)
    planes = (Plane("k", heads, dtype), Plane("v", heads, dtype))
    return StateSpec("kv", "paged", planes, attention.layers, limits.block_size)
