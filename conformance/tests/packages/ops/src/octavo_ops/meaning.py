"""What the private ops mean: shapes, effects, primitives, and the numpy they are judged by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from octavo_platforms.graph import Dim, TensorType, Value, ValueType
from octavo_platforms.ops import Attrs, Emit, Op, PrivateOp, Sample
from octavo_platforms.ops.op import expect, tensor
from octavo_platforms.tensor import DType, cast, host

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
T = Dim("T")


def _gate_shape(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [T, I], weight [O, I] -> y * silu(y) of their product y, [T, O]."""
    x, weight = tensor(types, 0), tensor(types, 1)
    expect(weight.shape[1:] == x.shape[1:], f"{weight} does not fit {x}")
    return (TensorType((x.shape[0], weight.shape[0]), x.dtype),)


def _gate_primitives(emit: Emit, inputs: Sequence[Value], attrs: Attrs) -> tuple[Value, ...]:
    (y,) = emit("linear", *inputs)
    (active,) = emit("silu", y)
    return emit("mul", y, active)


def _gate_oracle(x: Floats, weight: Floats) -> Floats:
    y = x @ weight.T
    found: Floats = y * (y / (1.0 + np.exp(-y)))
    return found


def _gate_samples(dtype: DType) -> tuple[Sample, ...]:
    if dtype not in ("float32", "bfloat16"):
        return ()
    draw = np.random.default_rng(7)
    weight = cast(host(draw.standard_normal((6, 8), np.float32)), dtype)
    types = (TensorType((T, 8), dtype), TensorType((6, 8), dtype))
    rows = (draw.standard_normal((count, 8), np.float32) for count in (1, 5, 33))
    return tuple(
        Sample(types=types, values=(cast(host(x), dtype), weight), weights=(1,)) for x in rows
    )


def _count_shape(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Counts int32 [V], ids int32 [T] -> nothing; counts[id] grows by one for each id."""
    expect(tensor(types, 0).dtype == tensor(types, 1).dtype == "int32", "counts and ids are int32")
    return ()


def _count_oracle(counts: Ints, ids: Ints) -> None:
    np.add.at(counts, ids, 1)


def _count_samples(dtype: DType) -> tuple[Sample, ...]:
    counts, ids = np.arange(9, dtype=np.int32), np.array([3, 8, 3, 1], np.int32)
    types = (TensorType((9,), "int32"), TensorType((T,), "int32"))
    return (Sample(types=types, values=(host(counts), host(ids))),)


SQUARE_GATE = PrivateOp(
    op=Op(name="acme::square_gate", infer=_gate_shape, decompose=_gate_primitives),
    oracle=_gate_oracle,
    samples=_gate_samples,
    units=(128.0, 8.0),
)
COUNT = PrivateOp(
    op=Op(name="acme::count", infer=_count_shape, writes=(0,)),
    oracle=_count_oracle,
    samples=_count_samples,
)
