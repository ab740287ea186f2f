"""Adapters: each request's own low-rank weights, added to a slice of a linear layer's rows.

Knows nothing of which layers are adapted.
"""

from __future__ import annotations

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise_by_dtype
from octavo_conformance.compare import close, reals, same
from octavo_conformance.drawing import normal
from octavo_conformance.level2_ops.node import QUERY_STARTS, Constant, Input, OneNode, R, T
from octavo_conformance.level2_ops.optional import optional
from octavo_conformance.level2_ops.paged import not_a_number
from octavo_conformance.oracle.adapters import lora_delta
from octavo_conformance.oracle.values import floats
from octavo_conformance.steps import Step, ints
from octavo_platforms.tensor import DType, HostTensor, host

WIDTH, OUT, ADAPTED, FIRST, RANK, NUM_SLOTS = 24, 40, 16, 8, 3, 4


@promise_by_dtype(level=2, area="lora_delta")
def adds_each_requests_own_adapter(bench: Bench, dtype: DType) -> None:
    """Mates with other adapters, with the same and with none; requests of any length."""
    stacks = _stacks(dtype)
    node = _node(bench, *stacks)
    for queries, slots in (
        ((1,), (2,)),
        ((1, 1, 1, 1), (3, 0, 1, 3)),
        ((5, 0, 12, 1), (1, 2, 3, 0)),
        ((33, 20), (2, 2)),
    ):
        node.check(Step(queries=queries), **_rows(sum(queries), dtype), slots=host(ints(slots)))


@promise_by_dtype(level=2, area="lora_delta")
def leaves_requests_without_an_adapter_as_they_are(bench: Bench, dtype: DType) -> None:
    """To the bit, whatever slot 0 and other requests' slots hold."""
    a, b = _stacks(dtype)
    exact_a, exact_b = floats(a), floats(b)
    for stack in (a, b):
        for slot in (0, 2):
            stack.array[slot] = not_a_number(stack.shape[1:], dtype).array
    step, slots, given = Step(queries=(3, 2, 1, 4)), ints((0, 2, 1, 0)), _rows(10, dtype)
    (found,) = _node(bench, a, b).outputs(step, **given, slots=host(slots))
    for own in (slice(0, 3), slice(6, 10)):
        rows = HostTensor(found.array[own], dtype)
        same("rows without an adapter", rows, HostTensor(given["y"].array[own], dtype))
    y, x = floats(given["y"]), floats(given["x"])
    exact = lora_delta(y, x, exact_a, exact_b, slots, step.starts, first=FIRST)
    close("lora_delta", HostTensor(found.array[5:6], dtype), exact[5:6], dtype)


def _stacks(dtype: DType) -> tuple[HostTensor, HostTensor]:
    a = reals(normal("lora a", NUM_SLOTS, RANK, WIDTH), dtype)
    return a, reals(normal("lora b", NUM_SLOTS, ADAPTED, RANK), dtype)


def _node(bench: Bench, a: HostTensor, b: HostTensor) -> OneNode:
    leaves = (
        Input("y", (T, OUT), a.dtype),
        Input("x", (T, WIDTH), a.dtype),
        Constant("a", a),
        Constant("b", b),
        Input("slots", (R,), "int32"),
        QUERY_STARTS,
    )
    with optional():
        return OneNode(bench, "lora_delta", leaves, dtype=a.dtype, first=FIRST)


def _rows(num_tokens: int, dtype: DType) -> dict[str, HostTensor]:
    sizes = {"y": OUT, "x": WIDTH}
    return {
        name: reals(normal(f"lora {name}", num_tokens, size), dtype) for name, size in sizes.items()
    }
