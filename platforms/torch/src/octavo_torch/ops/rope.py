"""Rotary positions: the table of a step, and turning heads by it.

An angle is a float32 product, as models are trained with, and float64 from there on: how a
large angle is reduced must not differ from device to device. The turn is float32 and rounds
once.

Knows nothing of states. Source: arXiv 2104.09864.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec

Turn = Callable[[Tensor, Tensor], Tensor]


def rope_table(positions: Tensor, frequencies: Tensor, *, factor: float) -> Tensor:
    """Make cosines then sines, times a factor. Shapes: [T], [D/2]; returns [T, D]."""
    return table_of(torch.outer(positions.float(), frequencies), factor=factor)


def table_of(angles: Tensor, *, factor: float) -> Tensor:
    """Make cosines then sines, times a factor. Shapes: angles [T, D/2]; returns [T, D]."""
    wide = angles.double()
    return torch.cat((wide.cos(), wide.sin()), -1).mul_(factor).float()


def turning(*, interleaved: bool) -> Turn:
    """Give the function that turns heads [T, H, D] by a table [T, D'], D' <= D.

    What follows from the table alone is made once for each table, not for each layer: the
    table seen last is kept beside it.
    """
    widened = _Widened(interleaved=interleaved)

    def turn(x: Tensor, table: Tensor) -> Tensor:
        width = table.shape[1]
        if width < x.shape[-1]:
            turned = turn(x[..., :width], table)
            return torch.cat((turned, x[..., width:]), -1)
        cos, sin = widened.of(table)
        wide = x.float()
        if interleaved:
            partner = wide.view(*x.shape[:-1], width // 2, 2).flip(-1).flatten(-2)
        else:
            partner = torch.roll(wide, width // 2, -1)
        return (wide * cos).addcmul_(partner, sin).to(x.dtype)

    return turn


class _Widened:
    """A table's cosines and signed sines, one for each element of a head."""

    def __init__(self, *, interleaved: bool) -> None:
        self._interleaved = interleaved
        self._seen: tuple[Tensor, Tensor, Tensor] | None = None

    def of(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """Give both. Shapes: table [T, D]; returns [T, 1, D] twice."""
        if self._seen is None or self._seen[0] is not table:
            cos, sin = table[:, None].chunk(2, -1)
            if self._interleaved:
                both = (torch.stack((cos, cos), -1), torch.stack((-sin, sin), -1))
                cos, sin = (each.flatten(-2) for each in both)
            else:
                cos, sin = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
            self._seen = (table, cos, sin)
        return self._seen[1:]


def _rope_table(spec: OpSpec) -> Kernel:
    factor = spec.attr("factor")
    assert isinstance(factor, int | float)

    def run(positions: Tensor, frequencies: Tensor) -> Tensor:
        return rope_table(positions, frequencies, factor=float(factor))

    return Kernel(name="torch.rope_table", run=run)


def _rotary(spec: OpSpec) -> Kernel:
    return Kernel(name="torch.rotary", run=turning(interleaved=bool(spec.attr("interleaved"))))


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {"rope_table": _rope_table, "rotary": _rotary}
)
