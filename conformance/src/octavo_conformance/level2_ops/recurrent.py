"""Recurrent states: each request carries its own, from any row to any rows, in any chunks.

Expected values come from whole runs of tokens, request by request; the rows, the batch and the
poison around them are what is tested. Knows nothing of how a kernel walks.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise, promise_by_dtype
from octavo_conformance.compare import reals
from octavo_conformance.drawing import normal, random
from octavo_conformance.level2_ops.mixing import (
    NUM_ROWS,
    RING,
    Mixer,
    Mixing,
    joined,
    of_numbers,
    of_rows,
    part,
)
from octavo_conformance.level2_ops.node import (
    COMPUTED,
    QUERY_STARTS,
    Constant,
    Input,
    OneNode,
    R,
    T,
)
from octavo_conformance.level2_ops.optional import optional
from octavo_conformance.oracle.values import widen
from octavo_conformance.steps import Step, ints
from octavo_conformance.verdict import insist
from octavo_platforms.tensor import DType, HostTensor, host

LENGTHS = (9, 1, 4, 6)
CUTS = ((4, 1, 0, 2), (1, 0, 3, 3), (4, 0, 1, 1))


@of_numbers
def carries_its_state_over_any_chunks(bench: Bench, dtype: DType, mixer: Mixer) -> None:
    """A run of tokens at once, one by one, and in odd chunks: what comes out is the same."""
    mixing = Mixing(bench, dtype, mixer)
    run = mixer.drawn("chunks", 11, dtype)
    exact = mixing.exact(run)
    for chunks in ((11,), (1,) * 11, (3, 5, 1, 2), (2, 9)):
        start = 0
        for count in chunks:
            stop = start + count
            source, targets = [5 if start else 0], [[0, 0, 5]]
            found = mixing.mix([count], part(run, start, stop), source, targets)
            mixing.check(found, exact[start:stop])
            start = stop


@of_rows
def carries_its_state_far(bench: Bench, dtype: DType, mixer: Mixer) -> None:
    """Prompts longer than what kernels take at a time, beside each other and in two chunks."""
    mixing = Mixing(bench, dtype, mixer, is_spoilt=False)
    runs = [mixer.drawn(f"far {index}", length, dtype) for index, length in enumerate((150, 70))]
    exact = [mixing.exact(run) for run in runs]
    both = [part(runs[0], 0, 131), part(runs[1], 0, 67)]
    found = mixing.mix([131, 67], joined(both), [0, 0], [[0, 0, 1], [0, 0, 2]])
    mixing.check(found, np.concatenate([exact[0][:131], exact[1][:67]]))
    both = [part(runs[1], 67, 70), part(runs[0], 131, 150)]
    found = mixing.mix([3, 19], joined(both), [2, 1], [[0, 0, 2], [0, 0, 1]])
    mixing.check(found, np.concatenate([exact[1][67:], exact[0][131:]]))


@of_rows
def carries_each_request_from_row_to_row(bench: Bench, dtype: DType, mixer: Mixer) -> None:
    """Requests apart, states to go back to, a row read and written, a mate of not-a-number."""
    mixing = Mixing(bench, dtype, mixer)
    for law in (_requests_apart, _last_states, _row_read_and_written, _not_a_number):
        try:
            law(mixing)
        except AssertionError as failure:
            failure.add_note(f"in {law.__doc__}")
            raise
        mixing.spoil(range(NUM_ROWS))


@promise(level=2, area="ring_rows")
def goes_round_the_ring(bench: Bench) -> None:
    """Fresh requests, rings of one row and of several, chunks shorter and longer than a ring."""
    draw = random("rings")
    for width in (1, RING):
        leaves = (QUERY_STARTS, COMPUTED, Input("rings", (R, width), "int32"))
        with optional():
            node = OneNode(bench, "ring_rows", leaves, dtype="float32")
        for queries in ((1,), (1, 2, 0, 5, 1), (4, 3)):
            for computed in ([0] * len(queries), draw.integers(0, 9, len(queries)).tolist()):
                rings = 1 + draw.permutation(len(queries) * width).reshape(-1, width)
                step = Step(queries=queries, computed=computed)
                node.check(step, rings=host(ints(rings)))


@promise_by_dtype(level=2, area="time_steps")
def makes_positive_steps_between_limits(bench: Bench, dtype: DType) -> None:
    """Softplus near zero, far below it and far above, with and without limits."""
    bias = Constant("bias", reals(normal("step bias", 8), dtype))
    for low, high in ((0.0, None), (0.01, 0.5)):
        with optional():
            leaves = (Input("x", (T, 8), dtype), bias)
            node = OneNode(bench, "time_steps", leaves, dtype=dtype, low=low, high=high)
        for scale in (1.0, 30.0):
            x = reals(normal("steps", 5, 8, scale=scale), dtype)
            node.check(Step(queries=(5,)), x=x)


@promise_by_dtype(level=2, area="sigmoid")
def gives_the_logistic_function(bench: Bench, dtype: DType) -> None:
    """Near zero, far below it, and far above."""
    with optional():
        node = OneNode(bench, "sigmoid", (Input("x", (T, 48), dtype),), dtype=dtype)
    for scale in (1.0, 40.0, 1e-2):
        node.check(Step(queries=(7,)), x=reals(normal("sigmoid", 7, 48, scale=scale), dtype))


def _requests_apart(mixing: Mixing) -> None:
    """Requests that start, go on, end and pause together; old rows hold not-a-number."""
    mixer, dtype = mixing.mixer, mixing.dtype
    runs = [mixer.drawn(f"apart {index}", length, dtype) for index, length in enumerate(LENGTHS)]
    exact = [mixing.exact(run) for run in runs]
    done = [0] * len(runs)
    for cut in CUTS:
        ends = [before + count for before, count in zip(done, cut, strict=True)]
        given = [part(*each) for each in zip(runs, done, ends, strict=True)]
        source = [7 - index if before else 0 for index, before in enumerate(done)]
        targets = [[0, 0, 7 - index] for index in range(len(runs))]
        found = mixing.mix(cut, joined(given), source, targets)
        right = [each[a:b] for each, a, b in zip(exact, done, ends, strict=True)]
        mixing.check(found, np.concatenate(right))
        done = ends


def _last_states(mixing: Mixing) -> None:
    """The states after the last tokens are in the rows named; what came after them is gone."""
    mixer, dtype = mixing.mixer, mixing.dtype
    run, other = mixer.drawn("draft", 8, dtype), mixer.drawn("other", 2, dtype)
    rows = [3, 1, 2]
    mixing.mix([5], part(run, 0, 5), [0], [rows])
    mixing.mix([2], part(run, 5, 7), [rows[-1]], [[9, 4, 5]])  # two tokens end in two rows
    for known, row in ((3, 3), (4, 1), (5, 2), (6, 4), (7, 5)):
        exact = mixing.exact(joined([part(run, 0, known), other]))
        found = mixing.mix([2], other, [row], [[0, 0, 6]])
        mixing.check(found, exact[known:])


def _row_read_and_written(mixing: Mixing) -> None:
    """Where a request starts may be where one of its new states goes."""
    mixer, dtype = mixing.mixer, mixing.dtype
    run, other = mixer.drawn("own", 9, dtype), mixer.drawn("mate", 9, dtype)
    rows, theirs = [3, 1, 2], [6, 4, 5]
    both = joined([part(run, 0, 4), part(other, 0, 3)])
    mixing.mix([4, 3], both, [0, 0], [rows, theirs])
    both = joined([part(run, 4, 7), part(other, 3, 6)])
    found = mixing.mix([3, 3], both, [rows[2], theirs[2]], [rows, theirs])
    right = mixing.exact(run)[4:7], mixing.exact(other)[3:6]
    mixing.check(found, np.concatenate(right))
    for known, row in ((5, 3), (6, 1), (7, 2)):
        found = mixing.mix([1], part(run, 7, 8), [row], [[0, 0, 8]])
        exact = mixing.exact(joined([part(run, 0, known), part(run, 7, 8)]))
        mixing.check(found, exact[known:])


def _not_a_number(mixing: Mixing) -> None:
    """Where one request starts from not-a-number, its mates mix as if it were not there."""
    mixer, dtype = mixing.mixer, mixing.dtype
    runs = [mixer.drawn(f"spoilt {index}", 3, dtype) for index in range(3)]
    targets = [[0, 0, row] for row in (1, 2, 3)]
    found = mixing.mix([3, 3, 3], joined(runs), [0, 9, 0], targets)
    for index in (0, 2):
        own = HostTensor(found.array[3 * index : 3 * index + 3], dtype)
        mixing.check(own, mixing.exact(runs[index]))
    insist(bool(np.isnan(widen(HostTensor(found.array[3:4], dtype))).all()), "lost not-a-number")
