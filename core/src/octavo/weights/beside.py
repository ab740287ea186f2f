"""Tensors that stand in folders of their own beside a model's, under the folders' names.

    2_Dense/model.safetensors has linear.weight       2_Dense.linear.weight

Knows nothing of what they are for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from octavo.weights.lowered import FileSource
from octavo_platforms.tensor import DType, HostTensor


@dataclass(frozen=True, slots=True)
class Beside:
    """A source, and others by the names of their folders."""

    source: FileSource
    others: Mapping[str, FileSource]

    def names(self) -> Collection[str]:
        """Give the names of all tensors."""
        beside = (f"{at}.{name}" for at, other in self.others.items() for name in other.names())
        return {*self.source.names(), *beside}

    def shape(self, name: str) -> tuple[int, ...]:
        """Give a tensor's shape without reading it."""
        source, own = self._found(name)
        return source.shape(own)

    def dtype(self, name: str) -> DType:
        """Give the dtype that `read` delivers."""
        source, own = self._found(name)
        return source.dtype(own)

    def file_of(self, name: str) -> Path:
        """Give the file that holds a tensor."""
        source, own = self._found(name)
        return source.file_of(own)

    def kind(self, name: str) -> str:
        """Give the type that the file stores a tensor in, in its format's own word."""
        source, own = self._found(name)
        return source.kind(own)

    def ahead(self, name: str) -> None:
        """Have a tensor's bytes fetched from the disk, without waiting for them."""
        source, own = self._found(name)
        source.ahead(own)

    def read(self, name: str) -> HostTensor:
        """Give one tensor."""
        source, own = self._found(name)
        return source.read(own)

    def fill(self, name: str, into: HostTensor) -> None:
        """Read one tensor into an array."""
        source, own = self._found(name)
        source.fill(own, into)

    def _found(self, name: str) -> tuple[FileSource, str]:
        folder, _, own = name.partition(".")
        other = self.others.get(folder)
        return (self.source, name) if other is None else (other, own)
