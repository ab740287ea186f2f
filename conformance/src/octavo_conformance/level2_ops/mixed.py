"""Rows among token embeddings, and rotary positions on several axes.

Knows nothing of images.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise, promise_by_dtype
from octavo_conformance.compare import close, reals
from octavo_conformance.drawing import normal, random
from octavo_conformance.level2_ops.node import Constant, Input, OneNode, T
from octavo_conformance.level2_ops.optional import optional
from octavo_conformance.level2_ops.paged import not_a_number
from octavo_conformance.oracle.mixed import mix_rows
from octavo_conformance.oracle.values import floats
from octavo_conformance.steps import Step, ints
from octavo_platforms.tensor import DType, host

NUM_ROWS, WIDTH = 9, 24
FREQUENCIES = 1.0 / 10000 ** (np.arange(8, dtype=np.float32) / np.float32(8))
IN_RUNS = (0, 0, 1, 1, 1, 2, 2, 2)
IN_TURN = (0, 1, 2, 0, 1, 2, 0, 0)
FAR = 131_071


@promise_by_dtype(level=2, area="mix_rows")
def puts_kept_rows_among_those_of_tokens(bench: Bench, dtype: DType) -> None:
    """Rows at the start, the end and in between, twice the same, none; row 0 is nobody's."""
    kept = reals(normal("kept rows", NUM_ROWS, WIDTH), dtype)
    kept.array[0] = not_a_number((WIDTH,), dtype).array
    leaves = (
        Input("x", (T, WIDTH), dtype), Input("source", (T,), "int32"), Constant("kept", kept),
    )  # fmt: skip
    with optional():
        node = OneNode(bench, "mix_rows", leaves, dtype=dtype)
    for source in ([0], [3], [5, 6, 0, 0, 0, 8], [0, 0, 7, 7, 1], [0] * 20):
        x = reals(normal("token rows", len(source), WIDTH), dtype)
        (found,) = node.outputs(Step(queries=(len(source),)), x=x, source=host(ints(source)))
        close("mix_rows", found, mix_rows(floats(x), ints(source), floats(kept)), dtype)


@promise(level=2, area="rope_sections")
def turns_each_frequency_by_its_own_axis(bench: Bench) -> None:
    """Sections in runs and in turn, one axis alone, offsets behind and ahead, far positions."""
    literal = Constant("frequencies", host(FREQUENCIES), is_literal=True)
    draw = random("sections")
    for num_axes, sections in ((3, IN_RUNS), (3, IN_TURN), (1, (0,) * 8), (2, (1,) * 8)):
        leaves = (
            Input("positions", (T,), "int32"), Input("offsets", (num_axes, T), "int32"), literal,
        )  # fmt: skip
        with optional():
            node = OneNode(
                bench, "rope_sections", leaves, dtype="float32", factor=1.25, sections=sections
            )
        for num_tokens in (1, 21):
            positions = draw.integers(40, FAR - 40, num_tokens)
            offsets = draw.integers(-40, 40, (num_axes, num_tokens))
            node.check(
                Step(queries=(num_tokens,)),
                positions=host(ints(positions)),
                offsets=host(ints(offsets)),
            )
