"""Shaping logits before the choice: biases, penalties and cuts, a row's own in any company.

Limits of cuts lie midway between two ids, so that rounding decides nothing.

Knows nothing of parameters' names or of requests.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise_by_dtype
from octavo_conformance.compare import reals
from octavo_conformance.drawing import normal, random
from octavo_conformance.level2_ops.node import Input, OneNode, S
from octavo_conformance.level2_ops.optional import optional
from octavo_conformance.oracle.values import Floats
from octavo_conformance.steps import Step, ints
from octavo_platforms.tensor import Array, DType, HostTensor, host

FLOAT32: tuple[DType, ...] = ("float32",)
VOCAB_SIZES = (97, 1000)
NUM_SEATS = 9


@promise_by_dtype(level=2, area="bias_logits", dtypes=FLOAT32)
def adds_values_at_ids(bench: Bench, dtype: DType) -> None:
    """At both ends, twice at one id, minus infinity, and zeros as padding."""
    for vocab_size in VOCAB_SIZES:
        node = _node(
            bench, "bias_logits", vocab_size, Input("ids", (S, 6), "int32"),
            Input("values", (S, 6), "float32"),
        )  # fmt: skip
        ids = random(f"biased {vocab_size}").permuted(
            np.tile(np.arange(vocab_size), (8, 1)), axis=1
        )[:, :6]
        values = normal(f"bias {vocab_size}", 8, 6, scale=20.0)
        ids[0, :3], ids[1], values[1] = (0, vocab_size - 1, 0), 0, 0.0
        values[2, ::2] = -np.inf
        ids[3, 1], values[3, :2] = ids[3, 0], (-np.inf, 5.0)
        _check(node, vocab_size, ids=host(ints(ids)), values=reals(values, dtype))


@promise_by_dtype(level=2, area="penalise_logits", dtypes=FLOAT32)
def penalises_what_the_context_holds(bench: Bench, dtype: DType) -> None:
    """Prompts and outputs of many lengths, the last token among either, and no penalty at all."""
    for vocab_size in VOCAB_SIZES:
        node = _node(
            bench, "penalise_logits", vocab_size, Input("history", (S, 40), "int32"),
            Input("spans", (S, 2), "int32"), Input("last", (S,), "int32"),
            Input("penalties", (S, 3), "float32"),
        )  # fmt: skip
        draw = random(f"penalised {vocab_size}")
        history = draw.integers(0, vocab_size, (8, 40))
        history[:, 10:] = history[:, draw.integers(0, 10, 30)]
        history[4, :], history[5, 7:] = vocab_size - 1, 0
        spans = [[0, 0], [0, 1], [40, 41], [40, 0], [39, 5], [7, 3], [20, 20], [12, 13]]
        last = history[:, 0].copy()
        penalties = draw.uniform(0.5, 1.9, (8, 3))
        penalties[:, 1:] -= 1.0
        penalties[6] = 1.0, 0.0, 0.0
        _check(
            node, vocab_size, history=host(ints(history)), spans=host(ints(spans)),
            last=host(ints(last)), penalties=reals(penalties, dtype),
        )  # fmt: skip


@promise_by_dtype(level=2, area="truncate_logits", dtypes=FLOAT32)
def keeps_what_is_likely_enough(bench: Bench, dtype: DType) -> None:
    """Each cut alone, all in their order, none, half of all ids, and counts beyond them."""
    for vocab_size in (*VOCAB_SIZES, 4098):
        cutting = _Cutting(bench, vocab_size)
        logits = normal(f"cut {vocab_size}", 9, vocab_size, scale=3.0)
        logits[3] /= 300
        top_k = [0, 1, 5, 2 * vocab_size, 0, 0, 7, 0, 4]
        top_p = [1, 1, 1, 1, _mass(cutting.scores(logits, 4), 6), 1, 0.9, 1, 0.5]
        min_p = [0, 0, 0, 0, 0, _share(cutting.scores(logits, 5), 4), 0, 0, 0.1]
        top_p[3] = _mass(cutting.scores(logits, 3), vocab_size // 2)
        top_p[6] = _mass(cutting.scores(logits, 6), 3, among=7)
        scores = cutting.scores(logits, 8)
        min_p[8], top_p[8] = _share(scores, 3), _mass(scores, 2, among=3)
        cutting.check(logits, top_k, top_p, min_p)


@promise_by_dtype(level=2, area="truncate_logits", dtypes=FLOAT32)
def keeps_equal_logits_together(bench: Bench, dtype: DType) -> None:
    """Ties at every limit, zeros of both signs, and ids that were forbidden before."""
    for vocab_size in VOCAB_SIZES:
        cutting = _Cutting(bench, vocab_size)
        logits = np.zeros((9, vocab_size), np.float32)
        logits[1:, :8] = (3, 2, 2, 2, 1, 1, 0.5, 0.25)
        logits[2, 8::2] = -0.0
        logits[3, 4:] = logits[4, 8:] = -np.inf
        logits[5, -3:] = 3
        top_k = [3, 2, 12, 3, 6, 1, 0, 0, 0]
        top_p = [1.0] * 9
        top_p[6], top_p[7] = 0.5 * _mass(cutting.scores(logits, 6), 1), 1e-6
        cutting.check(logits, top_k, top_p, [0.0] * 8 + [1.0])


@promise_by_dtype(level=2, area="most_likely")
def finds_the_likeliest_ids(bench: Bench, dtype: DType) -> None:
    """One, some and all ids of a row, ties in the order of ids, and large logits."""
    for vocab_size, count in ((97, 1), (97, 97), (1000, 20)):
        leaves = (Input("logits", (S, vocab_size), dtype),)
        with optional():
            node = OneNode(bench, "most_likely", leaves, dtype=dtype, count=count)
        logits = normal(f"likeliest {vocab_size}", 6, vocab_size, scale=4.0).round(1)
        logits[0], logits[1, 5:] = 1.0, 0.0
        logits[2, ::2], logits[2, 1::2] = -0.0, 0.0
        logits[3] += 200.0
        node.check(Step(queries=(1,) * 6), logits=reals(logits, dtype))


class _Cutting:
    """The op on rows whose seats have temperatures of their own, in another order."""

    def __init__(self, bench: Bench, vocab_size: int) -> None:
        self._node = _node(
            bench, "truncate_logits", vocab_size, Input("settings", (NUM_SEATS, 3), "uint32"),
            Input("seats", (S,), "int32"), Input("top_k", (S,), "int32"),
            Input("cuts", (S, 2), "float32"),
        )  # fmt: skip
        self._vocab_size = vocab_size
        temperatures = np.array([0.7, 1.0, 1.3, 0.9, 0.8, 1.1, 1.0, 0.0, 1.2], np.float32)
        self._temperatures = temperatures
        settings = np.full((NUM_SEATS, 3), 77, np.uint32)
        settings[::-1, 0] = temperatures.view(np.uint32)
        self._settings = HostTensor(settings, "uint32")

    def scores(self, logits: Array, row: int) -> Floats:
        """Give a row's scores. Shapes: returns [V]."""
        temperature = self._temperatures[row] or 1.0
        found: Floats = logits[row].astype(np.float64) / temperature
        return found

    def check(
        self,
        logits: Array,
        top_k: Sequence[int],
        top_p: Sequence[float],
        min_p: Sequence[float],
    ) -> None:
        """Insist on what the oracle keeps. Raises: Failed."""
        seats = np.arange(NUM_SEATS)[::-1]
        self._node.check(
            Step(queries=(1,) * len(logits)),
            logits=reals(logits, "float32"),
            settings=self._settings,
            seats=host(ints(seats)),
            top_k=host(ints(top_k)),
            cuts=reals(np.stack([top_p, min_p], axis=1), "float32"),
        )


def _node(bench: Bench, op: str, vocab_size: int, *leaves: Input) -> OneNode:
    with optional():
        logits = Input("logits", (S, vocab_size), "float32")
        return OneNode(bench, op, (logits, *leaves), dtype="float32")


def _check(node: OneNode, vocab_size: int, **given: HostTensor) -> None:
    logits = reals(normal(f"shaped {vocab_size}", 8, vocab_size, scale=5.0), "float32")
    node.check(Step(queries=(1,) * 8), logits=logits, **given)


def _share(scores: Floats, count: int) -> float:
    """Give a part of the largest share that exactly `count` ids reach."""
    ranked = np.sort(scores)[::-1]
    return float(np.exp((ranked[count - 1] + ranked[count]) / 2 - ranked[0]))


def _mass(scores: Floats, count: int, *, among: int | None = None) -> float:
    """Give a share that exactly the `count` likeliest reach, of all or of the likeliest."""
    shares = np.exp(np.sort(scores)[::-1][:among])
    reached = np.cumsum(shares) / shares.sum()
    return float(reached[count - 1] + (reached[count - 2] if count > 1 else 0)) / 2
