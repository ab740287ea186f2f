"""Ops on recurrent states: what a request carries from token to token, overwritten as it goes.

A group of kind `recurrent` has rows instead of blocks; a row holds the whole state of a request
after one token. A request is given a ring of W rows, `StateSpec.ring`, and its state after
position p goes to the (p mod W)-th:

    computed, state_rows  ─ring_rows─>  source    the row to start from
                                        targets   rows for the states after the last W tokens

Drafts are rolled back by saying that less is computed, and only the device need know: with D
drafts a ring of D + 1 rows still holds the state after every token that may turn out to be the
last. A snapshot is a copy to a row of nobody's ring (`state_copy`), made before the ring comes
round; it is given back by a copy into a ring.

Row 0 is null. As a source it is a state of zeros, whatever it holds, not-a-number included; as
a target it takes what nobody wants. A request's source may be one of its targets: it is read
before anything is written. Of several requests no two share a row, but the null row.

Knows nothing of rings but in `ring_rows`: whoever names rows otherwise may use the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo_platforms.graph import TensorType, ValueType
from octavo_platforms.ops.op import Attrs, Op, expect, fixed, real, state, tensor
from octavo_platforms.tensor import is_float


def _ring_rows(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """query_starts int32 [R+1], computed int32 [R], state_rows int32 [R, W] -> source, targets.

    `source` int32 [R] is the row of the state after position computed - 1, or 0 where nothing
    is computed. `targets` int32 [R, W] are the rows of the states after the last W tokens that
    the request has in this step, in their order; one of n < W tokens has 0 in the first W - n.
    """
    starts, computed, rows = (tensor(types, index) for index in range(3))
    expect(len(starts.shape) == len(computed.shape) == 1, "starts and computed have one axis")
    expect(len(rows.shape) == 2 and rows.dtype == "int32", f"{rows} is not a ring for each request")
    expect(fixed(rows.shape[1]) > 0, "a ring has at least one row")
    expect(rows.shape[:1] == computed.shape, f"{rows} is not a ring for each of {computed}")
    return (computed, rows)


def _causal_conv(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Mix each channel with its own K - 1 values before.

    x [T, C], weight [C, K], query_starts int32 [R+1], source int32 [R], targets int32 [R, W],
    state, bias [C] or absent; plane -> [T, C].

    y[t, c] = bias[c] + sum over k of weight[c, k] * x[t - K + 1 + k, c], in float32. The plane,
    [K-1, C], holds a request's last K - 1 rows of x, the oldest first. No activation.
    """
    x, weight = tensor(types, 0), tensor(types, 1)
    expect(len(x.shape) == len(weight.shape) == 2, f"cannot mix {x} by {weight}")
    expect(x.shape[1] == weight.shape[0], f"{weight} has no row for each channel of {x}")
    expect(fixed(weight.shape[1]) > 1, f"{weight} looks at no token before")
    _rows(types, 2, attrs)
    if len(types) == 7:
        bias = tensor(types, 6)
        expect(bias.shape == x.shape[1:], f"the bias {bias} does not fit {x}")
    return (x,)


def _time_steps(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [T, H], bias [H]; low, high (None is no limit) -> float32 [T, H].

    log(1 + exp(x + bias)) in float32, held between low and high.
    """
    x, bias = tensor(types, 0), tensor(types, 1)
    real(attrs, "low")
    expect(attrs.get("high") is None or real(attrs, "high") > 0, "'high' is a number above 0")
    expect(bias.shape == x.shape[1:], f"the bias {bias} does not fit {x}")
    return (TensorType(x.shape, "float32"),)


def _selective_scan(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Decay and feed a state of N numbers for each of D features of H heads, and read it.

    x [T, H, D], dt float32 [T, H], a_log [H] or [H, N], b [T, G, N], c [T, G, N], d [H],
    query_starts int32 [R+1], source int32 [R], targets int32 [R, W], state; plane -> [T, H, D].

    With a = -exp(a_log), and g = h * G // H, the group of head h:
    s[h] becomes exp(dt[h] * a[h]) * s[h] + dt[h] * x[h] (outer) b[g]; y[h] = s[h] . c[g] +
    d[h] * x[h], all in float32. The plane is [H, D, N], its layout's axes in any order. One
    decay a head is Mamba-2's; Mamba's own has heads of one feature, and one for each number.
    """
    x, dt, a_log, b, c, d = (tensor(types, index) for index in range(6))
    _rows(types, 6, attrs)
    expect(len(x.shape) == len(b.shape) == 3, f"{x} and {b} have three axes each")
    expect(dt == TensorType(x.shape[:2], "float32"), f"{dt} is no float32 step for each of {x}")
    expect(b == c and b.shape[0] == x.shape[0], f"{b} and {c} are not one for each of {x}")
    heads = x.shape[1]
    expect(a_log.shape in ((heads,), (heads, b.shape[2])), f"{a_log} is no decay of {x}")
    expect(d.shape == (heads,), f"{d} is not one for each head of {x}")
    expect(fixed(heads) % fixed(b.shape[1]) == 0, "H is no multiple of G")
    return (x,)


def _gated_delta(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Decay a memory of keys and values, correct it by the delta rule, and read it.

    q [T, K, Dk], k [T, K, Dk], v [T, H, Dv], dt float32 [T, H], a_log [H], beta [T, H],
    query_starts int32 [R+1], source int32 [R], targets int32 [R, W], state; plane, scale, eps
    -> [T, H, Dv].

    Value head h has key head h * K // H. Where `eps` is a number, q and k are divided by
    sqrt(their sum of squares + eps) first. s[h] is multiplied by exp(-exp(a_log[h]) * dt[h]);
    then k (outer) beta[h] * (v - s[h]' k) is added to it; y[h] = scale * s[h]' q, all in
    float32. The plane is [H, Dk, Dv].
    """
    q, k, v, dt, a_log, beta = (tensor(types, index) for index in range(6))
    _rows(types, 6, attrs)
    real(attrs, "scale")
    expect(attrs.get("eps") is None or real(attrs, "eps") > 0, "'eps' is a number above 0, or None")
    expect(q == k and len(q.shape) == len(v.shape) == 3, f"{q}, {k} and {v} do not fit")
    expect(q.shape[0] == v.shape[0], f"{q} and {v} differ in tokens")
    each = v.shape[:2]
    expect(dt == TensorType(each, "float32"), f"{dt} is no float32 step for each of {v}")
    expect(beta.shape == each and a_log.shape == each[1:], f"{beta} and {a_log} do not fit {v}")
    expect(fixed(v.shape[1]) % fixed(q.shape[1]) == 0, "H is no multiple of K")
    return (v,)


def _rows(types: Sequence[ValueType], first: int, attrs: Attrs) -> None:
    """Check what every mixer has behind its own operands: starts, source, targets, a state."""
    starts, source, targets = (tensor(types, first + index) for index in range(3))
    state(types, first + 3)
    expect(isinstance(attrs.get("plane"), str), "'plane' has to name a plane of the state")
    expect(len(starts.shape) == len(source.shape) == 1, "starts and sources have one axis")
    expect(len(targets.shape) == 2, f"targets have two axes, not {targets}")
    expect(targets.shape[:1] == source.shape, f"{targets} are not some for each of {source}")
    expect(is_float(tensor(types, 0).dtype), f"cannot mix {tensor(types, 0)}")


RING_ROWS = Op(name="ring_rows", infer=_ring_rows)
TIME_STEPS = Op(name="time_steps", infer=_time_steps)
CAUSAL_CONV = Op(name="causal_conv", infer=_causal_conv, hook="bind_state_mixer", writes=(5,))
SELECTIVE_SCAN = Op(
    name="selective_scan", infer=_selective_scan, hook="bind_state_mixer", writes=(9,)
)
GATED_DELTA = Op(name="gated_delta", infer=_gated_delta, hook="bind_state_mixer", writes=(9,))

OPS = (RING_ROWS, TIME_STEPS, CAUSAL_CONV, SELECTIVE_SCAN, GATED_DELTA)
