"""Ops on paged states: write new keys and values, read them, attend to them.

Block 0 is the null block: padding writes go there and its content is undefined, so a kernel
must give the right answer with anything in it, not-a-number included. The same holds for
slots past a request's context.

Knows nothing of layouts; the kernels that share a state agree on one when they are bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from octavo_platforms.graph import TensorType, Value, ValueType
from octavo_platforms.ops.op import (
    Attrs,
    Emit,
    Op,
    expect,
    fixed,
    float_dtype,
    integer,
    real,
    state,
    tensor,
)

Lengths = Literal["host", "device"]


def _kv_write(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """K [T, K, D], v [T, K, D], slots int32 [T], state -> nothing; state[slots] = k, v."""
    k, v, slots = tensor(types, 0), tensor(types, 1), tensor(types, 2)
    state(types, 3)
    expect(k == v, f"keys {k} and values {v} differ")
    expect(slots.shape == k.shape[:1], f"{slots} is not one slot for each of {k}")
    return ()


def _kv_read(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Slots int32 [T], state; num_kv_heads, head_width, dtype -> k [T, K, D], v [T, K, D]."""
    slots = tensor(types, 0)
    state(types, 1)
    shape = (slots.shape[0], integer(attrs, "num_kv_heads"), integer(attrs, "head_width"))
    dtype = float_dtype(attrs, "dtype")
    return TensorType(shape, dtype), TensorType(shape, dtype)


def _state_copy(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Sources int32 [C], targets int32 [C], state -> nothing.

    Makes blocks of a paged state, or rows of a recurrent one, what others are. All are read
    before any is written; no two targets are equal but the null block, which padding copies to
    itself.
    """
    sources, targets = tensor(types, 0), tensor(types, 1)
    state(types, 2)
    expect(sources == targets and len(sources.shape) == 1, f"{targets} is not one for {sources}")
    return ()


def _attention(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Q [T, H, D], query_starts int32 [R+1], computed int32 [R], block_table int32 [R, M], state.

    Behind them sinks [H], or nothing: each is a score that its head has beside those of positions,
    neither scaled nor bent, which takes its share of the softmax and stands for no value.

    Behind those slopes float32 [H], where the attribute `slopes` says so: each is added to its
    head's score once for every position between key and query, slope * (k - p), neither scaled nor
    bent. It is the distance that is multiplied, in float32 whatever the dtype: what is near has a
    small number then, and so a small rounding, however long the context; slope * k would have the
    rounding of the largest position everywhere.

    Token i of request r stands at position p = computed[r] + i and attends to positions
    0..p of its own request, which the state already holds; with a `window` of W tokens, to
    p-W+1..p of them alone. Blocks that stand wholly before computed[r]-W+1 may be null by then:
    nobody keeps them. Head h reads KV head h * K / H.
    A `softcap` of C makes each score, scaled, C * tanh(score / C).
    Attributes: scale, num_kv_heads, window (tokens, or None), softcap (or None), slopes, lengths:
    "host", where `computed` is what the launch says, or "device", where a node makes it and the
    launch's own is an upper bound. Gives [T, H, D].
    Source: slopes, arXiv 2108.12409.
    """
    q, table = tensor(types, 0), tensor(types, 3)
    state(types, 4)
    real(attrs, "scale")
    lengths_of(attrs)
    softcap_of(attrs)
    expect(len(q.shape) == 3, f"queries have three axes, not {q}")
    expect(len(table.shape) == 2, f"a block table has two axes, not {table}")
    expect(fixed(q.shape[1]) % integer(attrs, "num_kv_heads") == 0, "H is no multiple of K")
    expect((window_of(attrs) or 1) > 0, "a window has to hold the token itself")
    slopes = has_slopes(attrs)
    expect(len(types) - slopes in (5, 6), "behind the state come sinks and slopes, once each")
    for place in range(5, len(types)):
        each = tensor(types, place)
        expect(each.shape == q.shape[1:2], f"{each} are not one for each head of {q}")
    if slopes:
        steep = tensor(types, len(types) - 1)
        expect(steep.dtype == "float32", f"slopes are float32, not {steep}")
    return (q,)


def _rotary_kv_write(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Q [T, H, D], k [T, K, D], v [T, K, D], table float32 [T, D'], slots int32 [T], state.

    Turns q and k by the table, writes k and v; gives the turned q. Attribute: interleaved.
    """
    q = tensor(types, 0)
    _kv_write((types[1], types[2], types[4], types[5]), attrs)
    return (q,)


def _decompose_rotary_kv_write(
    emit: Emit, inputs: Sequence[Value], attrs: Attrs
) -> tuple[Value, ...]:
    q, k, v, table, slots, kv = inputs
    (turned_q,) = emit("rotary", q, table, interleaved=attrs["interleaved"])
    (turned_k,) = emit("rotary", k, table, interleaved=attrs["interleaved"])
    emit("kv_write", turned_k, v, slots, kv)
    return (turned_q,)


def window_of(attrs: Attrs) -> int | None:
    """Give the window of an attention's attributes, in tokens. Raises: ShapeError."""
    return None if attrs.get("window") is None else integer(attrs, "window")


def softcap_of(attrs: Attrs) -> float | None:
    """Give what the scores of an attention stay below, None for no limit. Raises: ShapeError."""
    if attrs.get("softcap") is None:
        return None
    found = real(attrs, "softcap")
    expect(found > 0, "a softcap has to be positive")
    return found


def has_slopes(attrs: Attrs) -> bool:
    """Tell whether an attention's last operand is slopes. Raises: ShapeError."""
    found = attrs.get("slopes", False)
    expect(isinstance(found, bool), f"'slopes' is true or false, not {found!r}")
    return found is True


def lengths_of(attrs: Attrs) -> Lengths:
    """Tell who knows how long contexts are; the host, where nothing is said. Raises: ShapeError."""
    found = attrs.get("lengths", "host")
    expect(found in ("host", "device"), f"'lengths' is 'host' or 'device', not {found!r}")
    return "host" if found == "host" else "device"


KV_WRITE = Op(name="kv_write", infer=_kv_write, hook="bind_kv_write", writes=(3,))
KV_READ = Op(name="kv_read", infer=_kv_read, hook="bind_kv_read")
STATE_COPY = Op(name="state_copy", infer=_state_copy, hook="bind_kv_copy", writes=(2,))
ATTENTION = Op(name="attention", infer=_attention, hook="bind_attention")
ROTARY_KV_WRITE = Op(
    name="rotary_kv_write",
    infer=_rotary_kv_write,
    hook="bind_kv_write",
    writes=(5,),
    decompose=_decompose_rotary_kv_write,
)

OPS = (KV_WRITE, KV_READ, STATE_COPY, ATTENTION, ROTARY_KV_WRITE)
