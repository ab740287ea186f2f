"""Rows of features: linear layers, norms, pointwise functions.

Norms compute in float32 and round once. Knows nothing of attention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from octavo_platforms.ops.dense import limits_of, offset_of
from octavo_platforms.ops.op import integer, real
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
    """Make x / sqrt(mean(x^2) + eps) * (weight + offset)."""
    return Kernel(name="torch.rms_norm", run=_normed(spec))


def add_rms_norm(spec: OpSpec) -> Kernel:
    """Make the norm of a sum, and the sum."""
    normed = _normed(spec)

    def run(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        total = x + residual
        return normed(total, weight), total

    return Kernel(name="torch.add_rms_norm", run=run)


def _normed(spec: OpSpec) -> Callable[[Tensor, Tensor], Tensor]:
    eps, offset = real(dict(spec.attrs), "eps"), offset_of(dict(spec.attrs))

    def normed(x: Tensor, weight: Tensor) -> Tensor:
        size: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = size.mul_(size).mul_(1.0 / x.shape[-1]).add_(eps).rsqrt_()
        return scale.mul(x).mul_(_moved(weight, offset)).to(x.dtype)

    return normed


def layer_norm(spec: OpSpec) -> Kernel:
    """Make the norm of rows less their mean, with what weight and bias there is."""
    eps, offset = real(dict(spec.attrs), "eps"), offset_of(dict(spec.attrs))

    def run(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        wide = x.float()
        centred = wide - wide.mean(-1, keepdim=True)
        size: Tensor = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
        scale = size.mul_(size).mul_(1.0 / x.shape[-1]).add_(eps).rsqrt_()
        found = centred.mul_(scale)
        if weight is not None:
            found = found.mul_(_moved(weight, offset))
        return (found if bias is None else found.add_(bias)).to(x.dtype)

    return Kernel(name="torch.layer_norm", run=run)


def _moved(weight: Tensor, offset: float) -> Tensor:
    return weight.float() + offset if offset else weight


def silu_gate(x: Tensor) -> Tensor:
    """Make silu(gate) * up. Shapes: [T, 2F], gate then up; returns [T, F]."""
    gate, up = torch.chunk(x, 2, -1)
    return F.silu(gate).mul_(up)


def gelu(x: Tensor) -> Tensor:
    """Weigh each element by the normal distribution."""
    return F.gelu(x.float()).to(x.dtype)


def gelu_tanh(x: Tensor) -> Tensor:
    """Weigh each element by what looks like the normal distribution."""
    return F.gelu(x.float(), approximate="tanh").to(x.dtype)


def scale(spec: OpSpec) -> Kernel:
    """Make x times a number."""
    factor = float(np.float32(real(dict(spec.attrs), "factor")))

    def run(x: Tensor) -> Tensor:
        return x.float().mul(factor).to(x.dtype)

    return Kernel(name="torch.scale", run=run)


def softcap(spec: OpSpec) -> Kernel:
    """Make cap * tanh(x / cap)."""
    cap = real(dict(spec.attrs), "cap")

    def run(x: Tensor) -> Tensor:
        return x.float().div(cap).tanh_().mul_(cap).to(x.dtype)

    return Kernel(name="torch.softcap", run=run)


def sharpen(spec: OpSpec) -> Kernel:
    """Make x times what grows with the logarithm of its position."""
    beta, every = real(dict(spec.attrs), "beta"), integer(dict(spec.attrs), "every")

    def run(x: Tensor, positions: Tensor) -> Tensor:
        levels = positions.div(every, rounding_mode="floor").float()
        factors = levels.log1p_().mul_(beta).add_(1.0)
        return (x.float() * factors.view(-1, *[1] * (x.dim() - 1))).to(x.dtype)

    return Kernel(name="torch.sharpen", run=run)


def _clamp(spec: OpSpec) -> Kernel:
    low, high = limits_of(dict(spec.attrs))

    def run(x: Tensor) -> Tensor:
        return x if low is None and high is None else torch.clamp(x, low, high)

    return Kernel(name="torch.clamp", run=run)


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
        "sigmoid": plain("sigmoid", torch.sigmoid),
        "silu_gate": plain("silu_gate", silu_gate),
        "layer_norm": layer_norm,
        "gelu": plain("gelu", gelu),
        "gelu_tanh": plain("gelu_tanh", gelu_tanh),
        "relu": plain("relu", torch.relu),
        "scale": scale,
        "softcap": softcap,
        "clamp": _clamp,
        "sharpen": sharpen,
        "cast": _cast,
    }
)
