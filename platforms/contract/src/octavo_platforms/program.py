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

StateKind = Literal["paged", "window", "recurrent", "cross"]


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
    """One tensor that a state keeps for each slot, such as a key of K heads of width D.

    `axes` name its sizes for layouts; planes of one state that share an axis share its name.
    Raises: ValueError, where there is not one name of its own for each axis.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    axes: tuple[str, ...] = ("K", "D")

    def __post_init__(self) -> None:
        """Check the names."""
        if len(self.axes) != len(self.shape) or len({"B", "P", *self.axes}) != 2 + len(self.axes):
            raise ValueError(
                f"the plane '{self.name}' has the sizes {list(self.shape)}; its axes need a name "
                f"each, and neither B nor P, not {list(self.axes)}"
            )

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

    `block_size` is the number of slots in a block. A `recurrent` group has no slots: a block is
    one row, which holds a request's whole state after some token, and `block_size` is 1. Its
    requests have a `ring` of so many rows each (`ops.recurrent`). A `cross` group holds what an
    encoder made of a request, written once; launches say how many slots that is (`ops.cross`).

    A `window` group is a paged one whose layers all see at most `window` tokens, the token itself
    among them. Blocks that no token of a step or behind it will see are null in its table.

    Raises: ValueError, for a recurrent group with slots, or without rows, and for a window where
        the kind says that there is none, or the other way round.
    """

    name: str
    kind: StateKind
    planes: tuple[Plane, ...]
    layers: int
    block_size: int = 1
    ring: int = 1
    window: int | None = None

    def __post_init__(self) -> None:
        """Check the sizes."""
        if self.kind == "recurrent" and (self.block_size != 1 or self.ring < 1):
            raise ValueError(
                f"the recurrent state '{self.name}' has blocks of {self.block_size} slots and "
                f"rings of {self.ring} rows; it takes blocks of 1 and rings of 1 or more"
            )
        if (self.kind == "window") != (self.window is not None and self.window > 0):
            raise ValueError(
                f"the state '{self.name}' is of the kind '{self.kind}' and has the window "
                f"{self.window}; a group of the kind 'window', and no other, has one of 1 or more"
            )

    @property
    def axes(self) -> tuple[str, ...]:
        """Name what a layout has to order: blocks, slots, then the planes' own axes."""
        own = (axis for plane in self.planes for axis in plane.axes)
        slots = () if self.kind == "recurrent" else ("P",)
        return ("B", *slots, *dict.fromkeys(own))

    def place_of(self, plane: str) -> int:
        """Tell which of the planes has a name.

        Raises: KeyError, where none has.
        """
        for place, each in enumerate(self.planes):
            if each.name == plane:
                return place
        raise KeyError(f"no plane '{plane}' in the state '{self.name}'")

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
    """All entries of a model, by name, and what they share.

    Entries that are `optional` make something quicker, or richer: a platform that lacks an op of
    one goes without that entry, and core finds another way or refuses what needs it.
    """

    name: str
    entries: Mapping[str, Graph]
    weights: tuple[WeightDef, ...]
    buffers: tuple[BufferDef, ...]
    states: tuple[StateSpec, ...]
    symbols: tuple[Symbol, ...]
    optional: frozenset[str] = frozenset()

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
