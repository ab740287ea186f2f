"""A paged state of latents and the entries that use it, as cases drive them.

    write   latent_write: rows to slots      attend   latent_attention over block tables
    read    latent_read: what slots hold

A state starts full of not-a-number, the null block included. Knows nothing of what a case proves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from octavo.graph.builder import GraphBuilder
from octavo_conformance.bench import Bench
from octavo_conformance.compare import reals
from octavo_conformance.drawing import normal
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
from octavo_conformance.level2_ops.optional import optional
from octavo_conformance.level2_ops.paged import AHEAD, CHUNK_TOKENS, not_a_number
from octavo_conformance.oracle.values import Floats, floats
from octavo_conformance.steps import GROUP, Step, ints
from octavo_platforms.inputs import Ints
from octavo_platforms.ops.state import Lengths
from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.tensor import DType, HostTensor, host


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSizes:
    """The sizes of attention over latents: H, Dn, Dr, Dv, C, P and B of the docstrings.

    `lengths` says who knows what is computed; where the device does, launches say `AHEAD` more.
    """

    heads: int = 4
    plain: int = 12
    rope: int = 6
    value: int = 10
    latent: int = 16
    block_size: int = 4
    num_blocks: int = 64
    scale: float = 0.3
    layers: int = 1
    lengths: Lengths = "host"

    @property
    def width(self) -> int:
        """Give the width of a row: a latent and its key."""
        return self.latent + self.rope

    @property
    def num_slots(self) -> int:
        """Count the slots, those of the null block included."""
        return self.num_blocks * self.block_size


class Latents:
    """A program over one state group of latents, running. Raises: NotClaimed, where refused."""

    def __init__(self, bench: Bench, dtype: DType, sizes: LatentSizes) -> None:
        self.dtype, self.sizes = dtype, sizes
        plane = Plane("latent", (sizes.width,), dtype, ("C",))
        self._state = StateSpec(GROUP, "paged", (plane,), sizes.layers, sizes.block_size)
        rows = sizes.heads * (sizes.plain + sizes.value)
        weight = reals(normal(f"kv_b {rows}", rows, sizes.latent, scale=0.3), dtype)
        self._weight = Constant("kv_b", weight)
        program = builder(dtype, max_blocks=max(64, sizes.num_blocks))
        for layer in range(sizes.layers):
            self._write_entry(program.entry(f"write{layer}"), layer)
            self._read_entry(program.entry(f"read{layer}"), layer)
        self._attend_entry(program.entry("attend"))
        with optional():
            self._running = bench.start(
                program.finish(), {"kv_b": weight}, num_blocks=sizes.num_blocks
            )

    @property
    def weight(self) -> Floats:
        """Give the weight of keys and values. Shapes: [H*(Dn+Dv), C]."""
        return floats(self._weight.tensor)

    def write(self, slots: Sequence[int] | Ints, rows: HostTensor, layer: int = 0) -> None:
        """Write rows, [T, C+Dr], in launches of at most 256 tokens."""
        latent = self.sizes.latent
        for start in range(0, len(slots), CHUNK_TOKENS):
            at, part = ints(slots[start : start + CHUNK_TOKENS]), rows.array[start:]
            given = {
                name: HostTensor(part[: len(at), own].copy(), rows.dtype)
                for name, own in (("latent", slice(latent)), ("key", slice(latent, None)))
            }
            step = Step(queries=(len(at),))
            self._running.run(f"write{layer}", step, slots=host(at), **given)

    def read(self, slots: Sequence[int] | Ints, layer: int = 0) -> HostTensor:
        """Read rows back."""
        at = host(ints(slots))
        return self._running.run(f"read{layer}", Step(queries=(len(slots),)), slots=at)["rows"]

    def attend(self, step: Step, q: HostTensor, q_rope: HostTensor) -> HostTensor:
        """Attend with queries [T, H, Dn] and [T, H, Dr]."""
        given = {"q": q, "q_rope": q_rope}
        if self.sizes.lengths == "device":
            given["known"] = host(step.before)
            step = replace(step, computed=[before + AHEAD for before in step.before.tolist()])
        return self._running.run("attend", step, **given)["out"]

    def spoil(self) -> None:
        """Fill every slot with not-a-number."""
        every = range(self.sizes.num_slots)
        self.write(every, not_a_number((len(every), self.sizes.width), self.dtype))

    def _write_entry(self, g: GraphBuilder, layer: int) -> None:
        sizes = self.sizes
        latent = declare(g, Input("latent", (T, sizes.latent), self.dtype))
        key = declare(g, Input("key", (T, sizes.rope), self.dtype))
        slots = declare(g, Input("slots", (T,), "int32"))
        g.op("latent_write", latent, key, slots, g.state(self._state, layer))

    def _read_entry(self, g: GraphBuilder, layer: int) -> None:
        slots = declare(g, Input("slots", (T,), "int32"))
        state = g.state(self._state, layer)
        rows = g.one("latent_read", slots, state, width=self.sizes.width, dtype=self.dtype)
        g.output("rows", rows)

    def _attend_entry(self, g: GraphBuilder) -> None:
        sizes = self.sizes
        q = declare(g, Input("q", (T, sizes.heads, sizes.plain), self.dtype))
        q_rope = declare(g, Input("q_rope", (T, sizes.heads, sizes.rope), self.dtype))
        weight = declare(g, self._weight)
        computed = COMPUTED if sizes.lengths == "host" else Input("known", (R,), "int32")
        causes = [declare(g, x) for x in (QUERY_STARTS, computed, BLOCK_TABLE)]
        state = g.state(self._state, 0)
        attrs = {"scale": sizes.scale, "lengths": sizes.lengths}
        g.output("out", g.one("latent_attention", q, q_rope, weight, *causes, state, **attrs))


def rows_of(name: str, count: int, sizes: LatentSizes, dtype: DType) -> HostTensor:
    """Draw rows. Shapes: returns [count, C+Dr]."""
    return reals(np.asarray(normal(name, count, sizes.width)), dtype)
