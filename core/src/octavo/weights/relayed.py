"""A source that stands before another and passes everything on: what differs, others add.

Knows nothing of either.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from octavo_platforms.recipes import WeightSource
from octavo_platforms.tensor import DType, HostTensor


@dataclass(frozen=True, slots=True)
class Relayed:
    """A source like the one behind it. It fills no array, so that nothing goes past its `read`."""

    source: WeightSource

    def names(self) -> Collection[str]:
        """Give the names of all tensors."""
        return self.source.names()

    def shape(self, name: str) -> tuple[int, ...]:
        """Give a tensor's shape without reading it."""
        return self.source.shape(name)

    def dtype(self, name: str) -> DType:
        """Give the dtype that `read` delivers."""
        return self.source.dtype(name)

    def read(self, name: str) -> HostTensor:
        """Give one tensor."""
        return self.source.read(name)
