"""Ops of encoders: whole prompts that look both ways, keep no state and end in one row each.

Knows nothing of pages: a prompt that is encoded is in one step, from its first token on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from octavo_platforms.graph import TensorType, ValueType
from octavo_platforms.ops.op import Attrs, Op, expect, fixed, integer, real, tensor


def _encoder_attention(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Q [T, H, D], k [T, K, D], v [T, K, D], query_starts int32 [R+1] -> [T, H, D].

    Each token attends to the tokens of its own request, those after it included: to as many as
    `before` says of those in front of it and `after` of those behind, each None, or not there,
    for all of them. Head h reads KV head h * K / H. Attributes: scale, num_kv_heads, before,
    after. What padding gives is undefined.
    """
    q, k, v = (tensor(types, index) for index in range(3))
    tensor(types, 3)
    real(attrs, "scale")
    reach_of(attrs)
    expect(len(q.shape) == len(k.shape) == 3, f"queries and keys have three axes, not {q} and {k}")
    expect(k == v, f"keys {k} and values {v} differ")
    expect(k.shape[::2] == q.shape[::2] and k.dtype == q.dtype, f"{k} is no key for each of {q}")
    num_kv_heads = integer(attrs, "num_kv_heads")
    expect(k.shape[1] == num_kv_heads, f"{k} has not {num_kv_heads} heads")
    expect(fixed(q.shape[1]) % num_kv_heads == 0, "H is no multiple of K")
    return (q,)


def reach_of(attrs: Attrs) -> tuple[int | None, int | None]:
    """Give how many tokens are seen before and after each one; None is all. Raises: ShapeError."""
    before, after = (_reach(attrs, name) for name in ("before", "after"))
    return before, after


def _reach(attrs: Attrs, name: str) -> int | None:
    if attrs.get(name) is None:
        return None
    found = integer(attrs, name)
    expect(found >= 0, f"'{name}' has to be a count of tokens, not {found}")
    return found


def _mean_rows(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [T, E], query_starts int32 [R+1] -> [R, E], each request's mean, summed in float32.

    A request without tokens gives zeros.
    """
    x, starts = tensor(types, 0), tensor(types, 1)
    expect(len(x.shape) == 2 and len(starts.shape) == 1, f"no runs of rows in {x} by {starts}")
    size = starts.shape[0]
    requests = size - 1 if isinstance(size, int) else replace(size, plus=size.plus - 1)
    return (TensorType((requests, x.shape[1]), x.dtype),)


ENCODER_ATTENTION = Op(name="encoder_attention", infer=_encoder_attention)
MEAN_ROWS = Op(name="mean_rows", infer=_mean_rows)

OPS = (ENCODER_ATTENTION, MEAN_ROWS)
