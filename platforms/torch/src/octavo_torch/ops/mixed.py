"""Rows among token embeddings, and rotary positions on several axes.

Knows nothing of images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from types import MappingProxyType

import torch
from torch import Tensor

from octavo_platforms.ops.mixed import sections_of
from octavo_platforms.ops.op import real
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec
from octavo_torch.ops.rope import table_of
from octavo_torch.ops.rows import plain


def mix_rows(x: Tensor, source: Tensor, kept: Tensor) -> Tensor:
    """Take kept rows where a source names one. Shapes: [T, E], [T], [N, E]; returns [T, E]."""
    return torch.where((source > 0)[:, None], kept.index_select(0, source), x)


def _rope_sections(spec: OpSpec) -> Kernel:
    attrs = dict(spec.attrs)
    factor = real(attrs, "factor")
    runs = [(axis, len(list(same))) for axis, same in groupby(sections_of(attrs))]

    def run(positions: Tensor, offsets: Tensor, frequencies: Tensor) -> Tensor:
        places = (positions + offsets)[..., None]
        columns = torch.cat([places[axis].expand(-1, count) for axis, count in runs], 1)
        return table_of(columns.float() * frequencies, factor=factor)

    return Kernel(name="torch.rope_sections", run=run)


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {"mix_rows": plain("mix_rows", mix_rows), "rope_sections": _rope_sections}
)
