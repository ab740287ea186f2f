"""Rows of features: linear layers, norms, pointwise functions.

Norms compute in float32 and round once. Knows nothing of attention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from octavo_platforms.platform import Kernel
from octavo_platforms.specs import LinearSpec, OpSpec
from octavo_torch.dtypes import TORCH_OF
from octavo_torch.ops.rows import plain


def linear(spec: LinearSpec) -> Kernel:
    """Make x @ weight.T, plus the bias where there is one."""
    if spec.weight_dtype == spec.dtype:
        return Kernel(name="torch.linear", run=F.linear)
    dtype = TORCH_OF[spec.dtype]

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(x, weight.to(dtype), None if bias is None else bias.to(dtype))

    return Kernel(name="torch.linear, cast at each call", run=run)


def rms_norm(spec: OpSpec) -> Kernel:
    """Make x / sqrt(mean(x^2) + eps) * weight."""
    return Kernel(name="torch.rms_norm", run=_normed(spec))


def add_rms_norm(spec: OpSpec) -> Kernel:
    """Make the norm of a sum, and the sum."""
    normed = _normed(spec)

    def run(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        total = x + residual
        return normed(total, weight), total

    return Kernel(name="torch.add_rms_norm", run=run)


def _normed(spec: OpSpec) -> Callable[[Tensor, Tensor], Tensor]:
    found = spec.attr("eps")
    assert isinstance(found, int | float)
    eps = float(found)

    def normed(x: Tensor, weight: Tensor) -> Tensor:
        size: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = size.mul_(size).mul_(1.0 / x.shape[-1]).add_(eps).rsqrt_()
        return scale.mul(x).mul_(weight).to(x.dtype)

    return normed


def silu_gate(x: Tensor) -> Tensor:
    """Make silu(gate) * up. Shapes: [T, 2F], gate then up; returns [T, F]."""
    gate, up = torch.chunk(x, 2, -1)
    return F.silu(gate).mul_(up)


def _cast(spec: OpSpec) -> Kernel:
    name = spec.attr("to")
    dtype = next(torch_dtype for known, torch_dtype in TORCH_OF.items() if known == name)

    def run(x: Tensor) -> Tensor:
        return x.to(dtype)

    return Kernel(name="torch.cast", run=run)


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "rms_norm": rms_norm,
        "add_rms_norm": add_rms_norm,
        "add": plain("add", torch.add),
        "mul": plain("mul", torch.mul),
        "silu": plain("silu", F.silu),
        "silu_gate": plain("silu_gate", silu_gate),
        "cast": _cast,
    }
)
