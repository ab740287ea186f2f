"""Sources of numbers that are drawn, where nobody stored any.

A tensor depends on the seed and its own name alone: every start, and every rank of a group, has
the same, in whatever order tensors are read.

Knows nothing of what the tensors are for, nor how large their numbers should be.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping

import numpy as np

from octavo_platforms.tensor import DType, HostTensor, host


class Drawn(ABC):
    """A source of float32 tensors of these shapes; how each is drawn, `read` says."""

    def __init__(self, shape_of: Mapping[str, tuple[int, ...]], *, seed: int) -> None:
        self._shape_of = shape_of
        self._seed = seed

    def names(self) -> Collection[str]:
        """Give the names of all tensors."""
        return self._shape_of.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Give a tensor's shape."""
        return self._shape_of[name]

    def dtype(self, name: str) -> DType:
        """Give float32."""
        return "float32"

    @abstractmethod
    def read(self, name: str) -> HostTensor:
        """Draw a tensor."""

    def _normal(self, name: str, *, scale: float, mean: float = 0.0) -> HostTensor:
        generator = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
        drawn = generator.standard_normal(self._shape_of[name], dtype=np.float32)
        drawn *= np.float32(scale)
        drawn += np.float32(mean)
        return host(drawn)
