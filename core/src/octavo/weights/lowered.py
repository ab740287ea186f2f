"""A source some of whose tensors are stored as one more than the weight, and read as the weight.

Knows nothing of files, nor of which tensors these are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from octavo_platforms.recipes import FillingSource
from octavo_platforms.tensor import DType, HostTensor, host, put, to_float


@runtime_checkable
class FileSource(FillingSource, Protocol):
    """A source whose tensors are in files."""

    def file_of(self, name: str) -> Path:
        """Give the file that holds a tensor."""
        ...

    def kind(self, name: str) -> str:
        """Give the type that the file stores a tensor in, in its format's own word."""
        ...

    def ahead(self, name: str) -> None:
        """Have a tensor's bytes fetched from the disk, without waiting for them."""
        ...


class Lowered:
    """Another source, less one where `is_plus_one` says so.

    Dtypes: float32 for what is lowered: the difference has digits that the sum had no room for.
    """

    def __init__(self, source: FileSource, is_plus_one: Callable[[str], bool]) -> None:
        self._source = source
        self._is_plus_one = is_plus_one

    def names(self) -> Collection[str]:
        """Give the names of all tensors."""
        return self._source.names()

    def shape(self, name: str) -> tuple[int, ...]:
        """Give a tensor's shape without reading it."""
        return self._source.shape(name)

    def dtype(self, name: str) -> DType:
        """Give the dtype that `read` delivers."""
        stored = self._source.dtype(name)
        return "float32" if self._is_plus_one(name) else stored

    def file_of(self, name: str) -> Path:
        """Give the file that holds a tensor."""
        return self._source.file_of(name)

    def kind(self, name: str) -> str:
        """Give the type that the file stores a tensor in, in its format's own word."""
        return self._source.kind(name)

    def ahead(self, name: str) -> None:
        """Have a tensor's bytes fetched from the disk, without waiting for them."""
        self._source.ahead(name)

    def read(self, name: str) -> HostTensor:
        """Give one tensor."""
        stored = self._source.read(name)
        return host(to_float(stored) - np.float32(1)) if self._is_plus_one(name) else stored

    def fill(self, name: str, into: HostTensor) -> None:
        """Read one tensor into an array."""
        if self._is_plus_one(name):
            put(self.read(name), into)
        else:
            self._source.fill(name, into)
