"""Paged states: what is written stays, to the bit, and nothing else changes.

Knows nothing of attention.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise_by_dtype
from octavo_conformance.compare import close, reals, same
from octavo_conformance.drawing import law, normal, random
from octavo_conformance.level2_ops.node import Input, T, builder, declare
from octavo_conformance.level2_ops.paged import Paged, Sizes
from octavo_conformance.oracle import ORACLE
from octavo_conformance.oracle.rope import rotary
from octavo_conformance.oracle.values import Floats, floats
from octavo_conformance.steps import GROUP, Step, ints
from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.tensor import DType, HostTensor, host

SIZES = Sizes(kv_heads=2, width=8, num_blocks=12)


@promise_by_dtype(level=2, area="kv_write")
def changes_the_named_slots_only(bench: Bench, dtype: DType) -> None:
    """Scattered slots, one slot, the first and the last of a block; all others keep their bits."""
    paged = Paged(bench, dtype, SIZES)
    expected = _Shadow(paged, dtype)
    expected.write(range(SIZES.num_slots))
    for slots in ([7], [SIZES.num_slots - 1, 4, 23, 8, 15], range(30, 41), [5, 4, 7, 6]):
        expected.write(slots)
        expected.check(f"after slots {list(slots)} were written")


@promise_by_dtype(level=2, area="kv_write")
def keeps_the_last_of_many_writes(bench: Bench, dtype: DType) -> None:
    """Any series of writes leaves what the last write to each slot said."""
    paged = Paged(bench, dtype, SIZES)
    expected = _Shadow(paged, dtype)
    expected.write(range(SIZES.num_slots))
    slots = st.lists(st.integers(4, SIZES.num_slots - 1), min_size=1, max_size=9, unique=True)

    def holds(writes: list[list[int]]) -> None:
        for each in writes:
            expected.write(each)
        expected.check(f"after the writes {writes}")

    law(bench.examples, st.lists(slots, min_size=1, max_size=4), holds)


@promise_by_dtype(level=2, area="kv_write")
def takes_padding_into_the_null_block(bench: Bench, dtype: DType) -> None:
    """Many tokens may go to slot 0 at once; other blocks do not notice."""
    paged = Paged(bench, dtype, SIZES)
    expected = _Shadow(paged, dtype)
    expected.write(range(SIZES.num_slots))
    rows = reals(normal("padding", 6, SIZES.kv_heads, SIZES.width), dtype)
    paged.write([9, 0, 0, 0, 33, 0], rows, rows)
    expected.note(
        [9, 33], HostTensor(rows.array[[0, 4]], dtype), HostTensor(rows.array[[0, 4]], dtype)
    )
    expected.check("after padding was written")


@promise_by_dtype(level=2, area="kv_write")
def keeps_layers_apart(bench: Bench, dtype: DType) -> None:
    """Each layer of a group is a state of its own."""
    paged = Paged(bench, dtype, Sizes(kv_heads=2, width=8, num_blocks=4, layers=3))
    k, v = (reals(normal(f"layers {name}", 3, 4, 2, 8), dtype) for name in "kv")
    for layer in range(3):
        paged.write(
            [4, 9, 6, 15],
            HostTensor(k.array[layer], dtype),
            HostTensor(v.array[layer], dtype),
            layer,
        )
    for layer in range(3):
        keys, values = paged.read([4, 9, 6, 15], layer)
        same(f"keys of layer {layer}", keys, HostTensor(k.array[layer], dtype))
        same(f"values of layer {layer}", values, HostTensor(v.array[layer], dtype))


@promise_by_dtype(level=2, area="rotary_kv_write")
def turns_keys_and_writes_them(bench: Bench, dtype: DType) -> None:
    """Turned queries come out, turned keys and plain values are in the state."""
    table = ORACLE["rope_table"](ints([0, 5, 131_071, 7]), [1.0, 0.1, 0.01, 0.001], factor=1.0)
    assert isinstance(table, np.ndarray)
    q = reals(normal("turned q", 4, 6, 8), dtype)
    k, v = (reals(normal(f"turned {name}", 4, 2, 8), dtype) for name in "kv")
    slots = ints([13, 4, 22, 5])
    angles = reals(table, "float32")
    for is_interleaved in (False, True):
        state = StateSpec(GROUP, "paged", tuple(Plane(n, (2, 8), dtype) for n in "kv"), 1, 4)
        program = builder(dtype)
        write, read = program.entry("write"), program.entry("read")
        leaves = (
            Input("q", (T, 6, 8), dtype),
            Input("k", (T, 2, 8), dtype),
            Input("v", (T, 2, 8), dtype),
            Input("table", (T, 8), "float32"),
            Input("slots", (T,), "int32"),
        )
        given = [declare(write, leaf) for leaf in leaves]
        kv = write.state(state, 0)
        write.output("q", write.one("rotary_kv_write", *given, kv, interleaved=is_interleaved))
        at = declare(read, leaves[-1])
        shape = {"num_kv_heads": 2, "head_width": 8, "dtype": dtype}
        for name, value in zip(
            "kv", read.op("kv_read", at, read.state(state, 0), **shape), strict=True
        ):
            read.output(name, value)
        running = bench.start(program.finish(), num_blocks=8)
        step = Step(queries=(4,))
        out = running.run("write", step, q=q, k=k, v=v, table=angles, slots=host(slots))["q"]
        kept = running.run("read", step, slots=host(slots))
        for what, found, plain in (("queries", out, q), ("keys", kept["k"], k)):
            exact = rotary(floats(plain), floats(angles), interleaved=is_interleaved)
            insist_close(what, found, exact, dtype)
        same("values", kept["v"], v)


def insist_close(what: str, found: HostTensor, exact: Floats, dtype: DType) -> None:
    """Compare with the tolerance of the compound. Raises: Failed, saying which part."""
    try:
        close("rotary_kv_write", found, exact, dtype)
    except AssertionError as failure:
        failure.add_note(f"of the {what}")
        raise


class _Shadow:
    """What a state has to hold: written beside it, then compared with it."""

    def __init__(self, paged: Paged, dtype: DType) -> None:
        row = (paged.sizes.kv_heads, paged.sizes.width)
        blank = reals(np.zeros((paged.sizes.num_slots, *row)), dtype)
        self._paged, self._dtype = paged, dtype
        self._keys, self._values = blank.array.copy(), blank.array.copy()
        self._draw = random("shadow")

    def write(self, slots: range | list[int]) -> None:
        shape = (len(slots), *self._keys.shape[1:])
        k, v = (reals(self._draw.standard_normal(shape), self._dtype) for _ in "kv")
        self._paged.write(list(slots), k, v)
        self.note(slots, k, v)

    def note(self, slots: range | list[int], k: HostTensor, v: HostTensor) -> None:
        self._keys[list(slots)], self._values[list(slots)] = k.array, v.array

    def check(self, when: str) -> None:
        first = self._paged.sizes.block_size  # what the null block holds is undefined
        slots = range(first, self._paged.sizes.num_slots)
        keys, values = self._paged.read(list(slots))
        same(f"keys {when}", keys, HostTensor(self._keys[first:], self._dtype))
        same(f"values {when}", values, HostTensor(self._values[first:], self._dtype))
