"""Tolerances: how far from the float64 oracle each op may be, by dtype.

An error is measured in units of the dtype's epsilon, relative to the larger of the value and
the root mean square of its row: sums of many terms are judged by the size of the terms, not
by a cancelled result. The table is part of the contract, so that no test tunes its own.

Knows nothing of platforms.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from octavo_platforms.tensor import DType, is_float

Floats = npt.NDArray[np.float64]

EPSILON: Mapping[DType, float] = MappingProxyType(
    {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
)

# op: units of epsilon allowed in float32, and in 16-bit dtypes (inputs are exact in both)
UNITS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "linear": (64.0, 2.0),
        "rms_norm": (16.0, 2.0),
        "add_rms_norm": (16.0, 3.0),
        "add": (1.0, 1.0),
        "mul": (1.0, 1.0),
        "silu": (8.0, 2.0),
        "sigmoid": (8.0, 2.0),
        "silu_gate": (8.0, 3.0),
        "layer_norm": (32.0, 2.0),  # a mean that is taken away leaves its rounding
        "gelu": (8.0, 2.0),
        "gelu_tanh": (8.0, 2.0),
        "scale": (2.0, 1.0),
        "softcap": (8.0, 2.0),
        "sharpen": (4.0, 1.0),
        "rope_table": (2.0, 2.0),
        "rotary": (8.0, 2.0),
        "rotary_kv_write": (8.0, 2.0),
        "attention": (64.0, 4.0),
        "cross_attention": (64.0, 4.0),
        "rope_sections": (2.0, 2.0),
        "latent_attention": (192.0, 8.0),  # a linear, attention, and a linear
        "time_steps": (16.0, 16.0),
        "causal_conv": (16.0, 2.0),
        "selective_scan": (128.0, 4.0),
        "gated_delta": (256.0, 4.0),
        "score": (64.0, 64.0),
        "most_likely": (64.0, 64.0),
        "bias_logits": (4.0, 4.0),  # a sum whose parts may be as large as a row
        "penalise_logits": (8.0, 8.0),
        "route": (16.0, 2.0),
        "grouped_linear": (64.0, 2.0),
        "combine": (16.0, 2.0),
        "encoder_attention": (64.0, 4.0),
        "mean_rows": (16.0, 2.0),
        "lora_delta": (64.0, 2.0),
        "all_reduce": (8.0, 4.0),  # a rounding for each rank but one
        "reduce_scatter": (8.0, 4.0),
    }
)

# A greedy choice counts as decided when the two largest logits are further apart than this,
# in units of epsilon of the dtype, relative to the largest logit's size.
GAP_UNITS: Mapping[DType, float] = MappingProxyType(
    {"float32": 512.0, "float16": 16.0, "bfloat16": 4.0}
)


def allowed_units(op: str, dtype: DType) -> float:
    """Give the error that an op may have, in units of epsilon; 0 for what has to be exact.

    Whatever an op gives in integers does.
    """
    if op not in UNITS or not is_float(dtype):
        return 0.0
    wide, narrow = UNITS[op]
    return wide if dtype in ("float32", "float64") else narrow


def error_units(found: Floats, exact: Floats, dtype: DType) -> float:
    """Measure the worst error in units of epsilon. Not-a-number anywhere gives infinity.

    Infinities have to be where they should, and are no part of a row's size.

    Shapes: found and exact are equal; the last axis is a row.
    """
    if found.size == 0:
        return 0.0
    finite = np.isfinite(exact)
    if not np.isfinite(found[finite]).all() or not np.array_equal(found[~finite], exact[~finite]):
        return float("inf")
    found, exact = np.where(finite, found, 0), np.where(finite, exact, 0)
    rows = np.sqrt(np.mean(np.square(exact), axis=-1, keepdims=True))
    scale = np.maximum(np.maximum(np.abs(exact), rows), np.finfo(np.float32).tiny)
    return float(np.max(np.abs(found - exact) / scale) / EPSILON[dtype])


def gap_limit(logits: npt.NDArray[np.floating], dtype: DType) -> float:
    """Give the gap between the two largest logits above which a greedy choice is decided."""
    largest = float(np.max(np.abs(logits)))
    return GAP_UNITS[dtype] * EPSILON[dtype] * largest
