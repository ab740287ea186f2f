"""Ops on rows of features: linear layers, norms, and pointwise functions.

Norms compute in float32 and round once. Knows nothing of attention.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    tensor,
)


def _linear(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [T, I], weight [O, I], bias [O] or absent -> x @ weight.T + bias, [T, O]."""
    x, weight = tensor(types, 0), tensor(types, 1)
    expect(len(weight.shape) == 2, f"a linear weight has two axes, not {weight}")
    expect(x.shape[-1] == weight.shape[1], f"{x} does not fit the weight {weight}")
    if len(types) == 3:
        bias = tensor(types, 2)
        expect(bias.shape == (weight.shape[0],), f"the bias {bias} does not fit {weight}")
    return (TensorType((*x.shape[:-1], weight.shape[0]), x.dtype),)


def _rms_norm(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [..., E], weight [E] or [H, E]; eps -> x / sqrt(mean(x^2) + eps) * (weight + offset).

    A weight of two axes has a row for each head of x [T, H, E]. `offset` is 0 where nothing is
    said, and is added in float32.
    """
    x = tensor(types, 0)
    real(attrs, "eps")
    offset_of(attrs)
    _fits_rows(x, tensor(types, 1))
    return (x,)


def _layer_norm(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [..., E], weight and bias [E] or [H, E]; eps -> the rows less their mean, over deviation.

    (x - mean) / sqrt(mean((x - mean)^2) + eps) * (weight + offset) + bias. The bias may be left
    out, and the weight with it; `offset` is as in `rms_norm`. Source: arXiv 1607.06450.
    """
    x = tensor(types, 0)
    real(attrs, "eps")
    offset_of(attrs)
    for index in range(1, len(types)):
        _fits_rows(x, tensor(types, index))
    expect(len(types) <= 3, "a norm has a weight and a bias, no more")
    return (x,)


def _fits_rows(x: TensorType, weight: TensorType) -> None:
    axes = len(weight.shape)
    expect(
        axes in (1, 2) and axes < len(x.shape) and weight.shape == x.shape[-axes:],
        f"the norm weight {weight} does not fit {x}",
    )


def offset_of(attrs: Attrs) -> float:
    """Give what a norm adds to its weight; 0 where nothing is said. Raises: ShapeError."""
    return real(attrs, "offset") if "offset" in attrs else 0.0


def _add_rms_norm(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [T, E], residual [T, E], weight [E]; eps -> norm(x + residual), x + residual."""
    x, residual = tensor(types, 0), tensor(types, 1)
    expect(x == residual, f"cannot add {residual} to {x}")
    (normed,) = _rms_norm((x, tensor(types, 2)), attrs)
    return normed, x


def _decompose_add_rms_norm(emit: Emit, inputs: Sequence[Value], attrs: Attrs) -> tuple[Value, ...]:
    x, residual, weight = inputs
    (total,) = emit("add", x, residual)
    (normed,) = emit("rms_norm", total, weight, **attrs)
    return normed, total


def _same(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X -> a value of the same shape and dtype."""
    return (tensor(types, 0),)


def _scale(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """x; factor -> x * factor, the factor a float32 and the product rounded once."""
    real(attrs, "factor")
    return _same(types, attrs)


def _softcap(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """x; cap -> cap * tanh(x / cap), in float32 and rounded once. Source: arXiv 2408.00118."""
    expect(real(attrs, "cap") > 0, "'cap' has to be positive")
    return _same(types, attrs)


def _clamp(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """x; low, high (None is no limit) -> x, held between both, which are rounded to its dtype."""
    limits_of(attrs)
    return _same(types, attrs)


def _sharpen(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [T, ...], positions int32 [T]; beta, every -> x * (1 + beta * ln(1 + position // every)).

    The factor is a float32 and the product is rounded once. Source: transformers, Llama 4 and
    Ministral 3, `get_llama_4_attn_scale`.
    """
    x, positions = tensor(types, 0), tensor(types, 1)
    real(attrs, "beta")
    expect(integer(attrs, "every") > 0, "'every' has to be positive")
    expect(positions.shape == x.shape[:1], f"{positions} has no position for each row of {x}")
    return (x,)


def limits_of(attrs: Attrs) -> tuple[float | None, float | None]:
    """Give between what `clamp` holds; None for no limit. Raises: ShapeError."""
    low = None if attrs.get("low") is None else real(attrs, "low")
    high = None if attrs.get("high") is None else real(attrs, "high")
    expect(low is None or high is None or low <= high, "'low' is above 'high'")
    return low, high


def _pair(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """a, b of one shape and dtype -> the same."""
    a, b = tensor(types, 0), tensor(types, 1)
    expect(a == b, f"{a} and {b} differ")
    return (a,)


def _silu_gate(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [T, 2F], gate then up -> silu(gate) * up, [T, F]."""
    x = tensor(types, 0)
    width = fixed(x.shape[-1])
    expect(width % 2 == 0, f"{x} has no two halves")
    return (TensorType((*x.shape[:-1], width // 2), x.dtype),)


def _decompose_silu_gate(emit: Emit, inputs: Sequence[Value], attrs: Attrs) -> tuple[Value, ...]:
    (x,) = inputs
    found = emit.type_of(x)
    half = fixed(tensor((found,), 0).shape[-1]) // 2
    gate, up = emit("split", x, sizes=(half, half))
    (active,) = emit("silu", gate)
    return emit("mul", active, up)


def _rope_table(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Positions int32 [T], frequencies float32 [D/2]; factor -> cos then sin, float32 [T, D].

    An angle is the float32 product of position and frequency, rounded once.
    """
    positions, frequencies = tensor(types, 0), tensor(types, 1)
    real(attrs, "factor")
    return (TensorType((positions.shape[0], 2 * fixed(frequencies.shape[0])), "float32"),)


def _rotary(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [T, H, D], table float32 [T, D'] with D' <= D; interleaved -> x, its first D' turned.

    Half-split pairs element i with i + D'/2; interleaved pairs 2i with 2i + 1.
    """
    x, table = tensor(types, 0), tensor(types, 1)
    expect(len(x.shape) == 3 and len(table.shape) == 2, f"cannot turn {x} by {table}")
    expect(fixed(table.shape[1]) <= fixed(x.shape[2]), f"{table} is wider than a head of {x}")
    expect(isinstance(attrs.get("interleaved"), bool), "'interleaved' has to be true or false")
    return (x,)


def _cast(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """x; to a floating dtype -> x, rounded to nearest."""
    x = tensor(types, 0)
    return (TensorType(x.shape, float_dtype(attrs, "to")),)


LINEAR = Op(name="linear", infer=_linear, hook="bind_linear")
RMS_NORM = Op(name="rms_norm", infer=_rms_norm)
ADD = Op(name="add", infer=_pair)
MUL = Op(name="mul", infer=_pair)
SILU = Op(name="silu", infer=_same)
SIGMOID = Op(name="sigmoid", infer=_same)
GELU = Op(name="gelu", infer=_same)
GELU_TANH = Op(name="gelu_tanh", infer=_same)
RELU = Op(name="relu", infer=_same)
SCALE = Op(name="scale", infer=_scale)
SOFTCAP = Op(name="softcap", infer=_softcap)
CLAMP = Op(name="clamp", infer=_clamp)
SHARPEN = Op(name="sharpen", infer=_sharpen)
LAYER_NORM = Op(name="layer_norm", infer=_layer_norm)
CAST = Op(name="cast", infer=_cast)
ROPE_TABLE = Op(name="rope_table", infer=_rope_table)
ROTARY = Op(name="rotary", infer=_rotary)
ADD_RMS_NORM = Op(name="add_rms_norm", infer=_add_rms_norm, decompose=_decompose_add_rms_norm)
SILU_GATE = Op(name="silu_gate", infer=_silu_gate, decompose=_decompose_silu_gate)

OPS = (
    LINEAR, RMS_NORM, ADD, MUL, SILU, SIGMOID, CAST, ROPE_TABLE, ROTARY, ADD_RMS_NORM, SILU_GATE,
    LAYER_NORM, GELU, GELU_TANH, RELU, SCALE, SOFTCAP, CLAMP, SHARPEN,
)  # fmt: skip
