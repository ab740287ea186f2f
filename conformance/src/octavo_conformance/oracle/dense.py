"""Rows of features: linear layers, norms and pointwise functions.

Knows nothing of requests or positions.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.oracle.values import Floats, floats, narrow
from octavo_platforms.tensor import DType


def linear(x: Floats, weight: Floats, bias: Floats | None = None) -> Floats:
    """Multiply rows by a weight. Shapes: x [T, I]; weight [O, I]; bias [O]; returns [T, O]."""
    product: Floats = x @ weight.T
    return product if bias is None else product + bias


def rms_norm(x: Floats, weight: Floats, *, eps: float) -> Floats:
    """Divide rows by their root mean square. Shapes: x [..., E]; weight [E].

    Source: arXiv 1910.07467; eps stands under the root.
    """
    mean_square = np.mean(np.square(x), axis=-1, keepdims=True)
    normed: Floats = x / np.sqrt(mean_square + eps) * weight
    return normed


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


def cast(x: Floats, *, to: DType) -> Floats:
    """Round to a dtype's nearest value, ties to even."""
    return floats(narrow(x, to))


def add_rms_norm(
    x: Floats, residual: Floats, weight: Floats, *, eps: float
) -> tuple[Floats, Floats]:
    """Add, and normalise the sum; gives both. Shapes: x, residual [T, E]; weight [E]."""
    total = add(x, residual)
    return rms_norm(total, weight, eps=eps), total


def silu_gate(x: Floats) -> Floats:
    """Gate one half by the other. Shapes: x [T, 2F], gate then up; returns [T, F]."""
    gate, up = np.split(x, 2, axis=-1)
    return mul(silu(gate), up)
