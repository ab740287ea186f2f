"""What families of models differ in: norms, activations, scales, caps and sharper queries.

A platform may refuse any of these; models that have none of them run there all the same.
Knows no family.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise_by_dtype
from octavo_conformance.compare import reals
from octavo_conformance.drawing import normal
from octavo_conformance.level2_ops.node import Constant, Input, OneNode, T
from octavo_conformance.level2_ops.optional import optional
from octavo_conformance.steps import Step, ints
from octavo_platforms.tensor import DType, host

TOKENS = (1, 2, 7, 33)
ACTIVATIONS = ("gelu", "gelu_tanh", "relu")
WIDTH, HEADS = 48, 3


@promise_by_dtype(level=2, area="rms_norm")
def adds_an_offset_to_a_norms_weight(bench: Bench, dtype: DType) -> None:
    """Weights near zero, which the offset moves to one before any rounding."""
    weight = Constant("w", reals(normal("offset w", 96, scale=0.02), dtype))
    leaves = (Input("x", (T, 96), dtype), weight)
    residual = Input("residual", (T, 96), dtype)
    for op, given in (("rms_norm", leaves), ("add_rms_norm", (leaves[0], residual, weight))):
        with optional():
            node = OneNode(bench, op, given, dtype=dtype, eps=1e-6, offset=1.0)
        for num_tokens in TOKENS:
            x = reals(normal("offset x", num_tokens, 96, scale=4.0), dtype)
            more = {"residual": x} if op == "add_rms_norm" else {}
            node.check(Step(queries=(num_tokens,)), x=x, **more)


@promise_by_dtype(level=2, area="rms_norm")
def normalises_each_head_by_itself(bench: Bench, dtype: DType) -> None:
    """One weight for all heads, and a row of it for each; both kinds of norm."""
    for op in ("rms_norm", "layer_norm"):
        for shape in ((WIDTH,), (HEADS, WIDTH)):
            weight = Constant("w", reals(normal(f"heads w {shape}", *shape), dtype))
            leaves = (Input("x", (T, HEADS, WIDTH), dtype), weight)
            with optional():
                node = OneNode(bench, op, leaves, dtype=dtype, eps=1e-5)
            for num_tokens in TOKENS:
                x = reals(normal("heads x", num_tokens, HEADS, WIDTH, scale=2.0), dtype)
                node.check(Step(queries=(num_tokens,)), x=x)


@promise_by_dtype(level=2, area="layer_norm")
def takes_the_mean_from_rows(bench: Bench, dtype: DType) -> None:
    """With a weight and a bias, with less, and with an offset; small rows and rows far off zero."""
    weight = Constant("w", reals(normal("layer w", 96), dtype))
    bias = Constant("b", reals(normal("layer b", 96), dtype))
    kinds: tuple[tuple[Sequence[Constant], float], ...] = (
        ((weight, bias), 0.0),
        ((weight,), 0.0),
        ((), 0.0),
        ((weight, bias), 1.0),
    )
    for constants, offset in kinds:
        leaves: list[Input | Constant] = [Input("x", (T, 96), dtype), *constants]
        with optional():
            node = OneNode(bench, "layer_norm", leaves, dtype=dtype, eps=1e-5, offset=offset)
        for scale, mean in ((1.0, 0.0), (1e-3, 0.0), (1.0, 8.0), (0.0, 3.0)):
            for num_tokens in TOKENS:
                values = np.add(normal("layer x", num_tokens, 96, scale=scale), mean)
                node.check(Step(queries=(num_tokens,)), x=reals(values, dtype))


@promise_by_dtype(level=2, area="activation")
def bends_what_is_negative(bench: Bench, dtype: DType) -> None:
    """Both forms of gelu, and relu: near zero, far below it, and far above."""
    for op in ACTIVATIONS:
        with optional():
            node = OneNode(bench, op, (Input("x", (T, 48), dtype),), dtype=dtype)
        for scale in (1.0, 5.0, 1e-2):
            x = reals(normal(f"activation {scale}", 7, 48, scale=scale), dtype)
            node.check(Step(queries=(7,)), x=x)


@promise_by_dtype(level=2, area="scale")
def multiplies_by_a_number(bench: Bench, dtype: DType) -> None:
    """Factors above one and below it; the product is rounded once."""
    x = reals(normal("scale", 7, 48, scale=3.0), dtype)
    for factor in (55.4256258422, 0.22, 1.0 / 6.0, 12.0):
        with optional():
            node = OneNode(
                bench, "scale", (Input("x", (T, 48), dtype),), dtype=dtype, factor=factor
            )
        node.check(Step(queries=(7,)), x=x)


@promise_by_dtype(level=2, area="softcap")
def keeps_values_below_a_cap(bench: Bench, dtype: DType) -> None:
    """Values far below the cap, near it and far above."""
    with optional():
        node = OneNode(bench, "softcap", (Input("x", (T, 48), dtype),), dtype=dtype, cap=30.0)
    for scale in (1.0, 30.0, 500.0):
        x = reals(normal(f"softcap {scale}", 7, 48, scale=scale), dtype)
        node.check(Step(queries=(7,)), x=x)


@promise_by_dtype(level=2, area="sharpen")
def multiplies_rows_by_how_far_out_they_stand(bench: Bench, dtype: DType) -> None:
    """Positions before the first step, on both sides of steps, and far out; any order of rows."""
    leaves = (Input("x", (T, HEADS, WIDTH), dtype), Input("positions", (T,), "int32"))
    for beta, every in ((0.1, 16_384), (0.5, 7)):
        with optional():
            node = OneNode(bench, "sharpen", leaves, dtype=dtype, beta=beta, every=every)
        for positions in ([0], [every], [5 * every, every - 1, 0, 262_143, every, 2 * every - 1]):
            x = reals(normal("sharpen", len(positions), HEADS, WIDTH, scale=3.0), dtype)
            step = Step(queries=(len(positions),))
            node.check(step, x=x, positions=host(ints(positions)))


@promise_by_dtype(level=2, area="clamp")
def holds_values_between_limits(bench: Bench, dtype: DType) -> None:
    """Limits above, below, on both sides and on none; not-a-number stays where it is."""
    x = reals(normal("clamp", 7, 48, scale=6.0), dtype)
    for low, high in ((None, 7.0), (-7.0, 7.0), (-0.5, None), (None, None)):
        with optional():
            leaves = (Input("x", (T, 48), dtype),)
            node = OneNode(bench, "clamp", leaves, dtype=dtype, low=low, high=high)
        node.check(Step(queries=(7,)), x=x)
