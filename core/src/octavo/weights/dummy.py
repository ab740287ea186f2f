"""Weights that nobody trained, for a config alone: what a model costs, without a download.

Every start, and every rank of a group, has the same model. Its numbers are as large as those of a
model at its beginning: what a layer makes is about as large as what it reads.

Knows nothing of files; the config and the tokenizer are those of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from octavo.weights.drawn import Drawn
from octavo_platforms.program import ProgramDef
from octavo_platforms.recipes import Given, Take
from octavo_platforms.tensor import HostTensor, host

_SMALL = 0.02


class DummyWeights(Drawn):
    """A source of drawn weights, by the names that a program has for them.

    It has none until a program says which there are.
    """

    def __init__(self, seed: int, shape_of: Mapping[str, tuple[int, ...]] | None = None) -> None:
        super().__init__(shape_of or MappingProxyType({}), seed=seed)

    def of(self, program: ProgramDef) -> DummyWeights:
        """Give the weights of a program, as it is before any pass."""
        return DummyWeights(self._seed, {weight.name: weight.shape for weight in program.weights})

    def read(self, name: str) -> HostTensor:
        """Draw a weight: norms are ones, biases zeros, matrices normal by what they read."""
        shape = self.shape(name)
        if len(shape) == 1 and name.endswith((".weight", ".bias")):
            return host(np.full(shape, float(name.endswith(".weight")), np.float32))
        return self._normal(name, scale=shape[-1] ** -0.5 if len(shape) > 1 else _SMALL)


def drawn_whole(program: ProgramDef) -> ProgramDef:
    """Let every weight be one tensor, by its own name, whatever a checkpoint would hold.

    What no checkpoint holds stays what it is.
    """
    weights = tuple(
        weight if isinstance(weight.recipe, Given) else replace(weight, recipe=Take(weight.name))
        for weight in program.weights
    )
    return replace(program, weights=weights)
