"""Rows of features: linear layers, norms, pointwise functions and rotary positions.

Knows nothing of states.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise, promise_by_dtype
from octavo_conformance.compare import close, reals
from octavo_conformance.drawing import normal
from octavo_conformance.level2_ops.node import Constant, Input, OneNode, T, builder
from octavo_conformance.level2_ops.optional import optional
from octavo_conformance.oracle import ORACLE
from octavo_conformance.oracle.values import floats
from octavo_conformance.steps import Step, ints
from octavo_platforms.tensor import DType, host

TOKENS = (1, 2, 7, 33)


@promise_by_dtype(level=2, area="linear")
def multiplies_rows_by_a_weight(bench: Bench, dtype: DType) -> None:
    """One row and many, wide and narrow, sizes that are no power of two."""
    for n_in, n_out in ((64, 96), (200, 24), (576, 192), (17, 5)):
        weight = Constant("w", reals(normal(f"linear {n_in} {n_out}", n_out, n_in), dtype))
        node = OneNode(bench, "linear", (Input("x", (T, n_in), dtype), weight), dtype=dtype)
        for num_tokens in TOKENS:
            x = reals(normal(f"linear x {n_in}", num_tokens, n_in), dtype)
            node.check(Step(queries=(num_tokens,)), x=x)


@promise_by_dtype(level=2, area="linear")
def adds_its_bias(bench: Bench, dtype: DType) -> None:
    """Every output gets its own bias, once."""
    weight = Constant("w", reals(normal("bias w", 48, 64), dtype))
    bias = Constant("b", reals(normal("bias b", 48, scale=20.0), dtype))
    node = OneNode(bench, "linear", (Input("x", (T, 64), dtype), weight, bias), dtype=dtype)
    for num_tokens in TOKENS:
        x = reals(normal("bias x", num_tokens, 64), dtype)
        node.check(Step(queries=(num_tokens,)), x=x)


@promise_by_dtype(level=2, area="linear")
def shares_a_weight_with_an_embedding(bench: Bench, dtype: DType) -> None:
    """A tied embedding is looked up in and multiplied by, and stays one weight."""
    program = builder(dtype)
    g = program.entry("run")
    table = g.weight("table", (50, 32))
    rows = g.one("embedding", table, g.input("token_ids", (T,), "int32"))
    g.output("rows", rows)
    g.output("logits", g.one("linear", g.input("x", (T, 32), dtype), table))
    tensor = reals(normal("tied", 50, 32), dtype)
    running = bench.start(program.finish(), {"table": tensor})
    x = reals(normal("tied x", 4, 32), dtype)
    found = running.run("run", Step(queries=(4,), token_ids=[0, 49, 3, 3]), x=x)
    wide = floats(tensor)
    close("embedding", found["rows"], wide[[0, 49, 3, 3]], dtype)
    close("linear", found["logits"], floats(x) @ wide.T, dtype)


@promise_by_dtype(level=2, area="rms_norm")
def divides_by_the_root_mean_square(bench: Bench, dtype: DType) -> None:
    """Rows of any size: eps matters for small ones, and large ones do not overflow."""
    weight = Constant("w", reals(normal("norm w", 96), dtype))
    node = OneNode(bench, "rms_norm", (Input("x", (T, 96), dtype), weight), dtype=dtype, eps=1e-5)
    for scale in (1.0, 1e-3, 300.0, 0.0):
        for num_tokens in TOKENS:
            x = reals(normal("norm x", num_tokens, 96, scale=scale), dtype)
            node.check(Step(queries=(num_tokens,)), x=x)


@promise_by_dtype(level=2, area="add_rms_norm")
def normalises_a_sum_and_gives_it_too(bench: Bench, dtype: DType) -> None:
    """Both outputs: the norm of the sum, and the sum."""
    weight = Constant("w", reals(normal("norm w", 96), dtype))
    leaves = (Input("x", (T, 96), dtype), Input("residual", (T, 96), dtype), weight)
    node = OneNode(bench, "add_rms_norm", leaves, dtype=dtype, eps=1e-6)
    for num_tokens in TOKENS:
        x = reals(normal("sum x", num_tokens, 96), dtype)
        residual = reals(normal("sum r", num_tokens, 96, scale=4.0), dtype)
        node.check(Step(queries=(num_tokens,)), x=x, residual=residual)


@promise_by_dtype(level=2, area="pointwise")
def adds_and_multiplies_element_by_element(bench: Bench, dtype: DType) -> None:
    """Sums and products, rounded once."""
    leaves = (Input("a", (T, 40), dtype), Input("b", (T, 40), dtype))
    a, b = (reals(normal(f"pair {name}", 7, 40), dtype) for name in "ab")
    for op in ("add", "mul"):
        OneNode(bench, op, leaves, dtype=dtype).check(Step(queries=(7,)), a=a, b=b)


@promise(level=2, area="pointwise")
def adds_integers_as_integers(bench: Bench) -> None:
    """Positions and counts add up exactly, past what a float holds."""
    leaves = (Input("a", (T,), "int32"), Input("b", (T,), "int32"))
    with optional():
        node = OneNode(bench, "add", leaves, dtype="float32")
    a, b = host(ints([2**24 + 1, -5, 0])), host(ints([2**24, 5, 131_071]))
    node.check(Step(queries=(3,)), a=a, b=b)


@promise_by_dtype(level=2, area="pointwise")
def weighs_by_the_logistic_function(bench: Bench, dtype: DType) -> None:
    """Silu near zero, far below it, and far above."""
    node = OneNode(bench, "silu", (Input("x", (T, 48), dtype),), dtype=dtype)
    for scale in (1.0, 40.0, 1e-2):
        x = reals(normal("silu", 7, 48, scale=scale), dtype)
        node.check(Step(queries=(7,)), x=x)


@promise_by_dtype(level=2, area="silu_gate")
def gates_one_half_by_the_other(bench: Bench, dtype: DType) -> None:
    """The first half is the gate, the second goes through."""
    node = OneNode(bench, "silu_gate", (Input("x", (T, 96), dtype),), dtype=dtype)
    for num_tokens in TOKENS:
        x = reals(normal("silu_gate", num_tokens, 96, scale=3.0), dtype)
        node.check(Step(queries=(num_tokens,)), x=x)


@promise_by_dtype(level=2, area="cast")
def rounds_to_nearest_ties_to_even(bench: Bench, dtype: DType) -> None:
    """From float32 and back, ties and negative zero included, to the bit."""
    steps = np.arange(-512, 512, dtype=np.float32)
    ties = np.float32(1.0) + steps * np.float32(2.0**-12)
    values = np.concatenate([ties, steps, normal("cast", 1024), [-0.0] * 32]).astype(np.float32)
    x = host(values.reshape(-1, 32))
    OneNode(bench, "cast", (Input("x", (T, 32), "float32"),), dtype=dtype, to=dtype).check(
        Step(queries=(len(x.array),)), x=x
    )
    back = reals(x.array, dtype)
    OneNode(bench, "cast", (Input("x", (T, 32), dtype),), dtype=dtype, to="float32").check(
        Step(queries=(len(x.array),)), x=back
    )


@promise(level=2, area="rope_table")
def gives_cosines_then_sines_far_out(bench: Bench) -> None:
    """Positions up to 131071, where an angle rounded in another way is another angle."""
    frequencies = (10_000.0 ** -(np.arange(0, 32, 2) / 32)).astype(np.float32)
    literal = Constant("frequencies", host(frequencies), is_literal=True)
    leaves = (Input("positions", (T,), "int32"), literal)
    for factor in (1.0, 1.25):
        node = OneNode(bench, "rope_table", leaves, dtype="float32", factor=factor)
        for positions in ([0], [131_071], [0, 1, 2, 3, 4095, 8191, 65_537, 131_070]):
            node.check(Step(queries=(len(positions),)), positions=host(ints(positions)))


@promise_by_dtype(level=2, area="rotary")
def turns_pairs_of_features(bench: Bench, dtype: DType) -> None:
    """Half-split and interleaved, whole heads and a part of them."""
    frequencies = (10_000.0 ** -(np.arange(0, 16, 2) / 16)).astype(np.float32)
    for is_interleaved in (False, True):
        for width in (16, 24):
            leaves = (Input("x", (T, 3, width), dtype), Input("table", (T, 16), "float32"))
            node = OneNode(bench, "rotary", leaves, dtype=dtype, interleaved=is_interleaved)
            for positions in ([0], [131_071], [5, 6, 7, 900, 0]):
                table = ORACLE["rope_table"](ints(positions), frequencies, factor=1.0)
                assert isinstance(table, np.ndarray)
                x = reals(normal("rotary", len(positions), 3, width), dtype)
                step = Step(queries=(len(positions),))
                node.check(step, x=x, table=reals(table, "float32"))
