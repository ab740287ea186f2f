"""The kernel. It imports torch, so it is imported when it is bound, not when Acme is found."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import silu


def silu_gate(x: Tensor) -> Tensor:
    """Gate one half by the other. Shapes: x [T, 2F], gate then up; returns [T, F]."""
    gate, up = x.chunk(2, -1)
    return silu(gate) * up
