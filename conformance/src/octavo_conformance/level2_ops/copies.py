"""Copies: blocks of a paged state and rows of a recurrent one become what others are, to the bit.

Knows nothing of what a block or a row is copied for.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise_by_dtype
from octavo_conformance.compare import reals, same
from octavo_conformance.drawing import normal
from octavo_conformance.level2_ops.mixing import (
    COPIED,
    MIXERS,
    NUM_ROWS,
    Mixing,
    joined,
    part,
)
from octavo_conformance.level2_ops.node import Input, T, builder, declare
from octavo_conformance.level2_ops.optional import optional
from octavo_conformance.steps import GROUP, Step, ints
from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.tensor import DType, HostTensor, host

NUM_BLOCKS, BLOCK_SIZE, ROW = 9, 4, (2, 8)
SLOTS = Input("slots", (T,), "int32")


@promise_by_dtype(level=2, area="state_copy")
def copies_blocks(bench: Bench, dtype: DType) -> None:
    """Blocks far apart, blocks that change places, padding; all others keep their bits."""
    planes = (Plane("k", ROW, dtype), Plane("v", ROW, dtype))
    state = StateSpec(GROUP, "paged", planes, 1, BLOCK_SIZE)
    program = builder(dtype)
    write, read, copy = (program.entry(name) for name in ("write", "read", "copy"))
    k, v, slots = (Input("k", (T, *ROW), dtype), Input("v", (T, *ROW), dtype), SLOTS)
    write.op("kv_write", *(declare(write, each) for each in (k, v, slots)), write.state(state, 0))
    shape = {"num_kv_heads": ROW[0], "head_width": ROW[1], "dtype": dtype}
    made = read.op("kv_read", declare(read, slots), read.state(state, 0), **shape)
    for name, value in zip("kv", made, strict=True):
        read.output(name, value)
    copy.op("state_copy", *(declare(copy, each) for each in COPIED), copy.state(state, 0))
    with optional():
        running = bench.start(program.finish(), num_blocks=NUM_BLOCKS)
    step, every = Step(queries=(NUM_BLOCKS * BLOCK_SIZE,)), np.arange(NUM_BLOCKS * BLOCK_SIZE)
    rows = {name: reals(normal(f"copied {name}", len(every), *ROW), dtype) for name in "kv"}
    running.run("write", step, **rows, slots=host(ints(every)))
    blocks = np.arange(NUM_BLOCKS)
    for sources, targets in (([1, 0, 2], [8, 0, 5]), ([3, 4, 0, 0], [4, 3, 0, 0]), ([8], [1])):
        given = {"copy_from": host(ints(sources)), "copy_to": host(ints(targets))}
        running.run("copy", Step(queries=(1,)), **given)
        blocks[targets] = blocks[sources]
        found = running.run("read", step, slots=host(ints(every)))
        for name, each in rows.items():
            as_blocks = each.array.reshape(NUM_BLOCKS, BLOCK_SIZE, *ROW)[blocks]
            right = HostTensor(as_blocks.reshape(each.array.shape)[BLOCK_SIZE:], dtype)
            own = HostTensor(found[name].array[BLOCK_SIZE:], dtype)
            same(f"{name} after {sources} were copied to {targets}", own, right)


@promise_by_dtype(level=2, area="state_copy")
def copies_a_requests_state(bench: Bench, dtype: DType) -> None:
    """A snapshot outlives what it was copied of; rows change places; padding goes nowhere."""
    mixing = Mixing(bench, dtype, MIXERS[2])
    runs = [mixing.mixer.drawn(f"copied {index}", 6, dtype) for index in range(2)]
    exact = [mixing.exact(run) for run in runs]
    first = joined([part(run, 0, 3) for run in runs])
    mixing.mix([3, 3], first, [0, 0], [[0, 0, 1], [0, 0, 2]])
    mixing.copy([1, 0, 2, 0], [NUM_ROWS - 1, 0, 4, 0])
    mixing.spoil([1])
    mixing.copy([NUM_ROWS - 1, 2], [2, 1])
    for row, index in ((2, 0), (1, 1), (4, 1), (NUM_ROWS - 1, 0)):
        found = mixing.mix([3], part(runs[index], 3, 6), [row], [[0, 0, 5]])
        mixing.check(found, exact[index][3:])
    mixing.copy([1, 2], [2, 1])
    for row, index in ((1, 0), (2, 1)):
        found = mixing.mix([3], part(runs[index], 3, 6), [row], [[0, 0, 5]])
        mixing.check(found, exact[index][3:])
