"""Weights that nobody trained, for a config alone: what a model costs, without a download.

A weight is drawn from a seed and its own name, so that every start, and every rank of a group, has
the same model. Its numbers are as large as those of a model at its beginning: what a layer makes
is about as large as what it reads.

Knows nothing of files; the config and the tokenizer are those of a checkpoint.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from octavo_platforms.program import ProgramDef
from octavo_platforms.recipes import Take
from octavo_platforms.tensor import DType, HostTensor, host

_SMALL = 0.02


class DummyWeights:
    """A source of drawn weights, by the names that a program has for them.

    It has none until a program says which there are.
    """

    def __init__(self, seed: int, shape_of: Mapping[str, tuple[int, ...]] | None = None) -> None:
        self._seed = seed
        self._shape_of = shape_of or MappingProxyType({})

    def of(self, program: ProgramDef) -> DummyWeights:
        """Give the weights of a program, as it is before any pass."""
        return DummyWeights(self._seed, {weight.name: weight.shape for weight in program.weights})

    def names(self) -> Collection[str]:
        """Give the names of all weights."""
        return self._shape_of.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Give a weight's shape."""
        return self._shape_of[name]

    def dtype(self, name: str) -> DType:
        """Give float32."""
        return "float32"

    def read(self, name: str) -> HostTensor:
        """Draw a weight: norms are ones, biases zeros, matrices normal by what they read."""
        shape = self._shape_of[name]
        if len(shape) == 1 and name.endswith((".weight", ".bias")):
            return host(np.full(shape, float(name.endswith(".weight")), np.float32))
        generator = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
        drawn = generator.standard_normal(shape, dtype=np.float32)
        drawn *= np.float32(shape[-1] ** -0.5 if len(shape) > 1 else _SMALL)
        return host(drawn)


def drawn_whole(program: ProgramDef) -> ProgramDef:
    """Let every weight be one tensor, by its own name, whatever a checkpoint would hold."""
    weights = tuple(replace(weight, recipe=Take(weight.name)) for weight in program.weights)
    return replace(program, weights=weights)
