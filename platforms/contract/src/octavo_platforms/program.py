"""Programs: all entries of a model, with the weights, buffers and states they share.

Everything here is data that can be built, hashed, rewritten by passes and shown without a
device and without reading a single weight.

Knows nothing of checkpoints' files, nor of how a platform runs an entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from octavo_platforms.graph import Graph, Size
from octavo_platforms.recipes import Recipe
from octavo_platforms.tensor import DType, itemsize

StateKind = Literal["paged"]


@dataclass(frozen=True, slots=True)
class WeightDef:
    """A constant, and how it is made from a checkpoint."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    recipe: Recipe

    @property
    def num_bytes(self) -> int:
        """Give its size on the device, unpacked."""
        size = itemsize(self.dtype)
        for extent in self.shape:
            size *= extent
        return size


@dataclass(frozen=True, slots=True)
class BufferDef:
    """A tensor that persists between launches and starts as zeros."""

    name: str
    shape: tuple[Size, ...]
    dtype: DType


@dataclass(frozen=True, slots=True)
class Plane:
    """One tensor that a state keeps for each slot, such as a key of K heads of width D."""

    name: str
    shape: tuple[int, ...]
    dtype: DType

    @property
    def bytes_per_slot(self) -> int:
        """Give its size for one slot of one layer."""
        size = itemsize(self.dtype)
        for extent in self.shape:
            size *= extent
        return size


@dataclass(frozen=True, slots=True)
class StateSpec:
    """A state group: layers that share a block table. Each layer is its own buffer.

    `block_size` is the number of slots in a block.
    """

    name: str
    kind: StateKind
    planes: tuple[Plane, ...]
    layers: int
    block_size: int

    @property
    def bytes_per_block(self) -> int:
        """Give what one block costs over all planes and layers."""
        return self.layers * self.block_size * sum(p.bytes_per_slot for p in self.planes)


@dataclass(frozen=True, slots=True)
class Symbol:
    """A size that is known at launch: its largest value and what it is a multiple of."""

    name: str
    maximum: int
    multiple: int = 1


@dataclass(frozen=True, slots=True)
class ProgramDef:
    """All entries of a model, by name, and what they share."""

    name: str
    entries: Mapping[str, Graph]
    weights: tuple[WeightDef, ...]
    buffers: tuple[BufferDef, ...]
    states: tuple[StateSpec, ...]
    symbols: tuple[Symbol, ...]

    @property
    def hash(self) -> str:
        """Give a name that equal programs share."""
        digest = hashlib.sha256()
        for entry in sorted(self.entries):
            digest.update(f"{entry}={self.entries[entry].hash};".encode())
        digest.update(repr((self.weights, self.buffers, self.states, self.symbols)).encode())
        return digest.hexdigest()

    def state(self, name: str) -> StateSpec:
        """Give a state group by name.

        Raises: KeyError, where there is none.
        """
        for state in self.states:
            if state.name == name:
                return state
        raise KeyError(f"no state group '{name}' in program '{self.name}'")

    def symbol(self, name: str) -> Symbol:
        """Give a symbol by name.

        Raises: KeyError, where there is none.
        """
        for symbol in self.symbols:
            if symbol.name == name:
                return symbol
        raise KeyError(f"no symbol '{name}' in program '{self.name}'")
