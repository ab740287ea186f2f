"""Adapters: a low-rank addition to a linear layer, another one for each request.

    buffers a [N, r, I], b [N, O', r]         one row for each slot of an adapter; slot 0 is none
    y [T, O]  ─>  y[:, first : first + O'] + (x @ a[slot].T) @ b[slot].T

Stacks are buffers, so that an adapter comes and goes (`scatter_rows`) while a compiled program
lives. Its scale is part of b; one of lower rank is filled up with zeros.

Knows nothing of which layers are adapted, nor of who fills the slots.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo_platforms.graph import TensorType, ValueType
from octavo_platforms.ops.op import Attrs, Op, ShapeError, expect, fixed, integer, tensor


def _lora_delta(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Y [T, O], x [T, I], a [N, r, I], b [N, O', r], slots int32 [R], query_starts int32 [R+1].

    Gives y [T, O] with each request's own product added to O' columns from `first` on. Rows of
    requests in slot 0 stay as they are, to the bit, whatever slot 0 holds; what padding gives
    is undefined. The sums are float32.
    """
    y, x, a, b = (tensor(types, index) for index in range(4))
    slots, starts = tensor(types, 4), tensor(types, 5)
    if len(a.shape) != 3 or len(b.shape) != 3:
        raise ShapeError(f"stacks have three axes, not {a} and {b}")
    expect(x.shape[0] == y.shape[0] and x.shape[1] == a.shape[2], f"{x} does not fit {a} and {y}")
    expect(a.shape[:2] == b.shape[::2], f"the stacks {a} and {b} differ in slots or rank")
    expect(y.dtype == x.dtype == a.dtype == b.dtype, f"{y}, {x}, {a} and {b} differ in dtype")
    expect(len(slots.shape) == len(starts.shape) == 1, "slots and starts have one axis")
    end = integer(attrs, "first") + fixed(b.shape[1])
    expect(end - fixed(b.shape[1]) >= 0 and end <= fixed(y.shape[1]), f"{b} does not fit into {y}")
    return (TensorType(y.shape, y.dtype),)


LORA_DELTA = Op(name="lora_delta", infer=_lora_delta)

OPS = (LORA_DELTA,)
