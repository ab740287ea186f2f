"""A family: how its configs are read, and what its checkpoints call their weights.

Knows no family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from octavo.errors import ModelError
from octavo.models.decoder import Layer, Limits, generator
from octavo.models.dense import layer as dense_layer
from octavo.models.naming import Naming
from octavo.models.reading import Config
from octavo.models.spec import DecoderSpec
from octavo_platforms.ops import ShapeError
from octavo_platforms.program import Plane, ProgramDef
from octavo_platforms.recipes import Recipe, replace_takes
from octavo_platforms.tensor import DType

Names = Callable[[str], Recipe]


@contextmanager
def told_as_config() -> Iterator[None]:
    """Say of ops that do not fit each other that the config is to blame. Raises: ModelError."""
    try:
        yield
    except ShapeError as error:
        raise ModelError(
            f"config.json: its numbers do not fit each other: {error}. Fetch it again, from where "
            "the weights came from."
        ) from error


Planes = Callable[[DecoderSpec, DType], tuple[Plane, ...] | None]


def keys_and_values(spec: DecoderSpec, dtype: DType) -> tuple[Plane, ...] | None:
    """Keep keys and values in each slot, as `generator` does where nothing is said."""
    return None


def as_llama(spec: DecoderSpec) -> Names:
    """Name weights as Llama does."""
    return Naming()


@dataclass(frozen=True, slots=True)
class Family:
    """How a family reads a config and names weights, by the names of its architectures."""

    name: str
    architectures: tuple[str, ...]
    spec: Callable[[Config], DecoderSpec]
    names: Callable[[DecoderSpec], Names] = as_llama
    layer: Layer = dense_layer
    planes: Planes = keys_and_values

    def program(self, spec: DecoderSpec, *, dtype: DType, limits: Limits) -> ProgramDef:
        """Write the model as a program, for contexts as long as the limits let them be.

        Raises: ModelError, for a spec whose numbers do not fit each other.
        """
        fitting = spec.within(limits.max_blocks * limits.block_size)
        planes = self.planes(fitting, dtype)
        with told_as_config():
            written = generator(fitting, self.layer, dtype=dtype, limits=limits, planes=planes)
        rule = self.names(spec)
        weights = tuple(
            replace(each, recipe=replace_takes(each.recipe, rule)) for each in written.weights
        )
        return replace(written, weights=weights)
