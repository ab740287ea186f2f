"""A paged state and the entries that use it, as cases drive them.

    write   kv_write: keys and values to slots       attend   attention over block tables
    read    kv_read: what slots hold

A state starts full of not-a-number, the null block included: whatever a kernel reads without
having been told to shows. Knows nothing of what a case proves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from octavo.graph.builder import GraphBuilder
from octavo_conformance.bench import Bench
from octavo_conformance.compare import reals
from octavo_conformance.drawing import normal, random
from octavo_conformance.level2_ops.node import (
    BLOCK_TABLE,
    COMPUTED,
    QUERY_STARTS,
    Constant,
    Input,
    R,
    T,
    builder,
    declare,
)
from octavo_conformance.steps import GROUP, Step, ints
from octavo_platforms.graph import Attr, Value
from octavo_platforms.inputs import Ints
from octavo_platforms.ops.state import Lengths
from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.tensor import Array, DType, HostTensor, host, storage

CHUNK_TOKENS = 256
NULL_BLOCKS = 1
AHEAD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of attention: H, K, D, P and B of the docstrings; `scale` is as odd as may be.

    `lengths` says who knows what is computed; where the device does, launches say `AHEAD` more.
    Units: `window` is how many tokens are seen, None for all.
    """

    heads: int = 4
    kv_heads: int = 2
    width: int = 16
    block_size: int = 4
    num_blocks: int = 64
    scale: float = 0.3
    layers: int = 1
    window: int | None = None
    lengths: Lengths = "host"
    softcap: float | None = None
    sinks: bool = False
    slopes: tuple[float, ...] = ()

    @property
    def num_slots(self) -> int:
        """Count the slots, those of the null block included."""
        return self.num_blocks * self.block_size


class Pages(Protocol):
    """How a state is cut into blocks."""

    @property
    def block_size(self) -> int:
        """Give the number of slots in a block."""
        ...

    @property
    def num_blocks(self) -> int:
        """Count the blocks, the null block included."""
        ...


class Paged:
    """A program over one state group, running."""

    def __init__(self, bench: Bench, dtype: DType, sizes: Sizes) -> None:
        self.dtype, self.sizes = dtype, sizes
        row = (sizes.kv_heads, sizes.width)
        planes = (Plane("k", row, dtype), Plane("v", row, dtype))
        self._state = StateSpec(GROUP, "paged", planes, sizes.layers, sizes.block_size)
        program = builder(dtype, max_blocks=max(64, sizes.num_blocks))
        for layer in range(sizes.layers):
            self._write_entry(program.entry(f"write{layer}"), layer)
            self._read_entry(program.entry(f"read{layer}"), layer)
        self._attend_entry(program.entry("attend"))
        self._running = bench.start(program.finish(), num_blocks=sizes.num_blocks)

    def write(
        self, slots: Sequence[int] | Ints, k: HostTensor, v: HostTensor, layer: int = 0
    ) -> None:
        """Write keys and values, [T, K, D], in launches of at most 256 tokens."""
        for start in range(0, len(slots), CHUNK_TOKENS):
            part = slice(start, start + CHUNK_TOKENS)
            at = ints(slots[part])
            step = Step(queries=(len(at),))
            keys, values = (HostTensor(each.array[part], each.dtype) for each in (k, v))
            self._running.run(f"write{layer}", step, k=keys, v=values, slots=host(at))

    def read(self, slots: Sequence[int] | Ints, layer: int = 0) -> tuple[HostTensor, HostTensor]:
        """Read keys and values back."""
        at = host(ints(slots))
        found = self._running.run(f"read{layer}", Step(queries=(len(slots),)), slots=at)
        return found["k"], found["v"]

    def attend(self, step: Step, q: HostTensor) -> HostTensor:
        """Attend with queries [T, H, D]."""
        if self.sizes.lengths == "host":
            return self._running.run("attend", step, q=q)["out"]
        known, ahead = host(step.before), [before + AHEAD for before in step.before.tolist()]
        step = replace(step, computed=ahead)
        return self._running.run("attend", step, q=q, known=known)["out"]

    @property
    def sinks(self) -> HostTensor:
        """Give a score for each head, that takes much of some heads and little of others."""
        return reals(normal("sinks", self.sizes.heads, scale=3.0), self.dtype)

    @property
    def slopes(self) -> HostTensor:
        """Give what scores lose with distance, a number for each head."""
        return host(np.asarray(self.sizes.slopes, np.float32))

    def spoil(self) -> None:
        """Fill every slot with not-a-number."""
        every = range(self.sizes.num_slots)
        nothing = not_a_number((len(every), self.sizes.kv_heads, self.sizes.width), self.dtype)
        self.write(every, nothing, nothing)

    def _write_entry(self, g: GraphBuilder, layer: int) -> None:
        row = (T, self.sizes.kv_heads, self.sizes.width)
        k, v = (declare(g, Input(name, row, self.dtype)) for name in "kv")
        slots = declare(g, Input("slots", (T,), "int32"))
        g.op("kv_write", k, v, slots, g.state(self._state, layer))

    def _read_entry(self, g: GraphBuilder, layer: int) -> None:
        slots = declare(g, Input("slots", (T,), "int32"))
        state = g.state(self._state, layer)
        shape = {"num_kv_heads": self.sizes.kv_heads, "head_width": self.sizes.width}
        k, v = g.op("kv_read", slots, state, dtype=self.dtype, **shape)
        g.output("k", k)
        g.output("v", v)

    def _attend_entry(self, g: GraphBuilder) -> None:
        q = declare(g, Input("q", (T, self.sizes.heads, self.sizes.width), self.dtype))
        lengths = self.sizes.lengths
        computed = COMPUTED if lengths == "host" else Input("known", (R,), "int32")
        causes: list[Value] = [declare(g, x) for x in (QUERY_STARTS, computed, BLOCK_TABLE)]
        attrs: dict[str, Attr] = {
            "scale": self.sizes.scale,
            "num_kv_heads": self.sizes.kv_heads,
        }
        if self.sizes.softcap is not None:
            attrs["softcap"] = self.sizes.softcap
        state, window = g.state(self._state, 0), self.sizes.window
        behind = []
        if self.sizes.sinks:
            behind.append(declare(g, Constant("sinks", self.sinks, is_literal=True)))
        if self.sizes.slopes:
            behind.append(declare(g, Constant("slopes", self.slopes, is_literal=True)))
            attrs["slopes"] = True
        made = g.one(
            "attention", q, *causes, state, *behind, window=window, lengths=lengths, **attrs
        )
        g.output("out", made)


def not_a_number(shape: tuple[int, ...], dtype: DType) -> HostTensor:
    """Give a tensor of not-a-number."""
    if dtype == "bfloat16":
        return HostTensor(np.full(shape, 0x7FC0, np.uint16), dtype)
    return HostTensor(np.full(shape, np.nan, storage(dtype)), dtype)


def tables_for(contexts: Sequence[int], sizes: Pages, name: str) -> list[list[int]]:
    """Give each request blocks for its context, none of them the null block, in no order."""
    free = iter((NULL_BLOCKS + random(name).permutation(sizes.num_blocks - NULL_BLOCKS)).tolist())
    return [[next(free) for _ in range(-(-c // sizes.block_size))] for c in contexts]


def slots_of(table: Sequence[int], context: int, block_size: int) -> Array:
    """Give the slots of positions 0 to context - 1. Shapes: returns [C]."""
    at = np.arange(context)
    return np.asarray(table)[at // block_size] * block_size + at % block_size
