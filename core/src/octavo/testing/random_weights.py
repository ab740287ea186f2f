"""Random weights for any program: a checkpoint that nobody trained.

Knows nothing of what the weights are for; norms get ones, the rest small normal numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection

import numpy as np

from octavo_platforms.program import ProgramDef
from octavo_platforms.recipes import Take
from octavo_platforms.tensor import DType, HostTensor, host


class RandomWeights:
    """A source with every tensor that a program, before any pass, takes whole.

    A tensor depends on the seed and its own name alone.
    """

    def __init__(self, program: ProgramDef, *, seed: int = 0, scale: float = 0.1) -> None:
        self._seed = seed
        self._scale = scale
        self._shape_of = {
            weight.recipe.name: weight.shape
            for weight in program.weights
            if isinstance(weight.recipe, Take)
        }

    def names(self) -> Collection[str]:
        """Give the names of all tensors."""
        return self._shape_of.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Give a tensor's shape."""
        return self._shape_of[name]

    def dtype(self, name: str) -> DType:
        """Give float32."""
        return "float32"

    def read(self, name: str) -> HostTensor:
        """Make a tensor."""
        shape = self._shape_of[name]
        generator = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
        drawn = generator.standard_normal(shape, dtype=np.float32) * np.float32(self._scale)
        return host(drawn + np.float32(1) if len(shape) == 1 and "norm" in name else drawn)
