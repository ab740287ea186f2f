"""Ops of decoders that look at an encoder's rows: attention over a state that is written once.

    encode   rows ─> keys, values ─kv_write─> blocks of a group of the kind `cross`
    forward  queries ─cross_attention(lengths)─> each token sees all rows of its request

The group has block tables of its own and says how many rows each request has; nothing is added
to it while a request decodes, and no position plays a part. Block 0 and slots past a request's
rows are as in `state`.

Knows nothing of what was encoded. Source: arXiv 1706.03762 section 3.2.3.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo_platforms.graph import ValueType
from octavo_platforms.ops.op import Attrs, Op, expect, fixed, integer, real, state, tensor


def _cross_attention(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Q [T, H, D], query_starts int32 [R+1], lengths int32 [R], block_table int32 [R, M], state.

    Each token of request r attends to all of its first lengths[r] slots; without any it gets
    zeros. Head h reads KV head h * K / H. `lengths` are those that the launch says of the group,
    so that a kernel may prepare from them. Attributes: scale, num_kv_heads. Gives [T, H, D].
    """
    q, starts, lengths, table = (tensor(types, index) for index in range(4))
    state(types, 4)
    real(attrs, "scale")
    expect(len(q.shape) == 3, f"queries have three axes, not {q}")
    expect(len(starts.shape) == len(lengths.shape) == 1, f"{starts} and {lengths} have one axis")
    expect(len(table.shape) == 2, f"a block table has two axes, not {table}")
    expect(lengths.shape == table.shape[:1], f"{lengths} is not one length for each of {table}")
    expect(fixed(q.shape[1]) % integer(attrs, "num_kv_heads") == 0, "H is no multiple of K")
    return (q,)


CROSS_ATTENTION = Op(name="cross_attention", infer=_cross_attention, hook="bind_cross_attention")

OPS = (CROSS_ATTENTION,)
