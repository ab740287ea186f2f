"""Rows of features: linear layers, norms and pointwise functions.

Knows nothing of requests or positions.
"""

from __future__ import annotations

import math

import numpy as np

from octavo_conformance.oracle.values import Floats, Ints, floats, narrow
from octavo_platforms.tensor import DType


def linear(x: Floats, weight: Floats, bias: Floats | None = None) -> Floats:
    """Multiply rows by a weight. Shapes: x [T, I]; weight [O, I]; bias [O]; returns [T, O]."""
    product: Floats = x @ weight.T
    return product if bias is None else product + bias


def rms_norm(x: Floats, weight: Floats, *, eps: float, offset: float = 0.0) -> Floats:
    """Divide rows by their root mean square. Shapes: x [..., E]; weight [E] or [H, E].

    Source: arXiv 1910.07467; eps stands under the root.
    """
    mean_square = np.mean(np.square(x), axis=-1, keepdims=True)
    normed: Floats = x / np.sqrt(mean_square + eps) * (weight + offset)
    return normed


def layer_norm(
    x: Floats,
    weight: Floats | None = None,
    bias: Floats | None = None,
    *,
    eps: float,
    offset: float = 0.0,
) -> Floats:
    """Take the mean from rows and divide by their deviation. Shapes: as `rms_norm`; bias too.

    Source: arXiv 1607.06450; eps stands under the root.
    """
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(np.square(centred), axis=-1, keepdims=True)
    normed: Floats = centred / np.sqrt(variance + eps)
    if weight is not None:
        normed = normed * (weight + offset)
    return normed if bias is None else normed + bias


def add(a: Floats, b: Floats) -> Floats:
    """Add element by element."""
    return a + b


def mul(a: Floats, b: Floats) -> Floats:
    """Multiply element by element."""
    return a * b


def silu(x: Floats) -> Floats:
    """Weigh each element by its logistic function. Source: arXiv 1606.08415."""
    with np.errstate(over="ignore"):
        return x / (1.0 + np.exp(-x))


def sigmoid(x: Floats) -> Floats:
    """Give each element's logistic function."""
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-x))


def gelu(x: Floats) -> Floats:
    """Weigh each element by the normal distribution. Source: arXiv 1606.08415."""
    below = [0.5 * math.erfc(-each / math.sqrt(2.0)) for each in x.ravel().tolist()]
    found: Floats = x * np.asarray(below).reshape(x.shape)
    return found


def gelu_tanh(x: Floats) -> Floats:
    """Weigh each element by what looks like the normal distribution. Source: arXiv 1606.08415."""
    inner: Floats = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)
    return 0.5 * x * (1.0 + np.tanh(inner))


def relu(x: Floats) -> Floats:
    """Replace what is negative by zero; not-a-number stays."""
    return np.where(x < 0, 0.0, x)


def scale(x: Floats, *, factor: float) -> Floats:
    """Multiply by a number, which is a float32."""
    return x * float(np.float32(factor))


def softcap(x: Floats, *, cap: float) -> Floats:
    """Bend each element so that it stays below a cap. Source: arXiv 2408.00118."""
    return cap * np.tanh(x / cap)


def sharpen(x: Floats, positions: Ints, *, beta: float, every: int) -> Floats:
    """Multiply each row by what grows with the logarithm of its position."""
    factors: Floats = 1.0 + beta * np.log(1.0 + positions // every)
    return x * factors.reshape(-1, *[1] * (x.ndim - 1))


def clamp(x: Floats, *, low: float | None = None, high: float | None = None) -> Floats:
    """Hold each element between two limits, where there are some; not-a-number stays."""
    above = x if low is None else np.where(x < low, low, x)
    return above if high is None else np.where(above > high, high, above)


def cast(x: Floats, *, to: DType) -> Floats:
    """Round to a dtype's nearest value, ties to even."""
    return floats(narrow(x, to))


def add_rms_norm(
    x: Floats, residual: Floats, weight: Floats, *, eps: float, offset: float = 0.0
) -> tuple[Floats, Floats]:
    """Add, and normalise the sum; gives both. Shapes: x, residual [T, E]; weight [E]."""
    total = add(x, residual)
    return rms_norm(total, weight, eps=eps, offset=offset), total


def silu_gate(x: Floats) -> Floats:
    """Gate one half by the other. Shapes: x [T, 2F], gate then up; returns [T, F]."""
    gate, up = np.split(x, 2, axis=-1)
    return mul(silu(gate), up)
