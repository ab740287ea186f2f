"""Random weights for any program: a checkpoint that nobody trained.

Knows nothing of what the weights are for; norms get ones, the rest small normal numbers.
"""

from __future__ import annotations

from octavo.weights.drawn import Drawn
from octavo_platforms.program import ProgramDef
from octavo_platforms.recipes import Take
from octavo_platforms.tensor import HostTensor


class RandomWeights(Drawn):
    """A source with every tensor that a program, before any pass, takes whole."""

    def __init__(self, program: ProgramDef, *, seed: int = 0, scale: float = 0.1) -> None:
        shape_of = {
            weight.recipe.name: weight.shape
            for weight in program.weights
            if isinstance(weight.recipe, Take)
        }
        super().__init__(shape_of, seed=seed)
        self._scale = scale

    def read(self, name: str) -> HostTensor:
        """Make a tensor."""
        is_norm = len(self.shape(name)) == 1 and "norm" in name
        return self._normal(name, scale=self._scale, mean=float(is_norm))
