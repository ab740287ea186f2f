"""Checkpoints that lie elsewhere: small files are copied here, weights are read by ranges.

    s3://bucket/model ── config, tokenizer, index ──> a folder here
                      ── ranges of the shards ──────> tensors, the next ones fetched meanwhile

Whatever fsspec knows by a name of its own can be read: object stores, HTTP, file://, memory://.
fsspec is imported here alone, when such an address is given, and is not a requirement.

Knows nothing of formats; credentials are the business of fsspec and its libraries.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from octavo.errors import ModelError
from octavo.weights.mapped import TensorFile
from octavo_platforms.tensor import Array

SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "tekken.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.jinja",
    "chat_template.json",
    "model.safetensors.index.json",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
)
"""What is copied, as far as it is there. Names are asked for one by one: HTTP has no folders."""

_READERS = 4


class FileSystem(Protocol):
    """What is used of an fsspec file system."""

    def size(self, path: str) -> int | None:
        """Give a file's size in bytes. Raises: FileNotFoundError."""
        ...

    def cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """Read a range of a file. Raises: FileNotFoundError."""
        ...


class Remote:
    """A folder of a file system, by its address.

    Effects: `opened` files share a few threads that read ahead.
    Raises: ModelError, where fsspec or the library of the file system is not installed, or where
        the address cannot be used.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._system, self._folder = _file_system(self.address)
        self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="weights")

    def opened(self, name: str) -> TensorFile | None:
        """Open a file to read ranges of it; None where there is none."""
        path, shown = f"{self._folder}/{name}", f"{self.address}/{name}"
        with _told(shown):
            try:
                size = self._system.size(path)
            except FileNotFoundError:
                return None
        if size is None:
            raise ModelError(
                f"{shown}: its size is not told, so that ranges of it cannot be read. Copy the "
                "model here, or serve it by something that tells sizes."
            )
        return RemoteFile(self._system, path, shown, size, self._pool)

    def mirrored(self, cache: Path) -> Path:
        """Copy the small files into a folder of the cache, anew each time; gives the folder.

        Effects: each file appears there whole or not at all; what is gone elsewhere is removed.
        """
        folder = cache / hashlib.sha256(self.address.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        for name in SMALL_FILES:
            with _told(f"{self.address}/{name}"):
                try:
                    data = self._system.cat_file(f"{self._folder}/{name}")
                except FileNotFoundError:
                    (folder / name).unlink(missing_ok=True)
                    continue
            whole = folder / name
            whole.parent.mkdir(exist_ok=True)
            part = whole.with_name(f".{whole.name}.{os.getpid()}")
            part.write_bytes(data)
            part.replace(whole)
        return folder


class RemoteFile:
    """A file elsewhere that gives arrays of its bytes. What is announced is fetched meanwhile."""

    def __init__(
        self, system: FileSystem, path: str, shown: str, num_bytes: int, pool: ThreadPoolExecutor
    ) -> None:
        self.path = Path(shown)
        self._shown = shown
        self.num_bytes = num_bytes
        self._system = system
        self._where = path
        self._pool = pool
        self._coming: dict[tuple[int, int], Future[bytes]] = {}
        self._lock = threading.Lock()

    def bytes_at(self, offset: int, num_bytes: int) -> bytes:
        """Read some bytes; fewer where the file ends.

        Raises: ModelError, for a range that could not be read.
        """
        end = min(offset + num_bytes, self.num_bytes)
        if end <= offset:
            return b""
        with _told(self._shown):
            found = self._system.cat_file(self._where, start=offset, end=end)
        if len(found) != end - offset:
            raise ModelError(
                f"{self._shown}: asked for bytes {offset} to {end}, {len(found)} came. It changed "
                "while it was read, or ranges cannot be read there; copy the model here."
            )
        return found

    def ahead(self, offset: int, num_bytes: int) -> None:
        """Begin to fetch some bytes; who wants the same ones will have them."""
        with self._lock:
            if (offset, num_bytes) not in self._coming:
                self._coming[offset, num_bytes] = self._pool.submit(
                    self.bytes_at, offset, num_bytes
                )

    def array(self, offset: int, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        """Give an array of the bytes from an offset on; the caller has checked its bounds."""
        num_bytes = prod(shape) * dtype.itemsize
        with self._lock:
            coming = self._coming.pop((offset, num_bytes), None)
        found = self.bytes_at(offset, num_bytes) if coming is None else coming.result()
        array: Array = np.frombuffer(found, dtype).reshape(shape)
        return array

    def fill(self, offset: int, into: Array) -> None:
        """Read bytes into an array."""
        np.copyto(into, self.array(offset, into.dtype, into.shape))


class _told:
    """Says of an error of a file system which file it was about."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, ModelError):
            raise ModelError(
                f"{self._address} cannot be read: {type(error).__name__}: {error}. Check the "
                "address, the network and the credentials, or copy the model here."
            ) from error


def _file_system(address: str) -> tuple[FileSystem, str]:
    try:
        fsspec = importlib.import_module("fsspec.core")
    except ImportError as error:
        raise ModelError(
            f"{address} is an address of a file system, which fsspec reads: pip install fsspec, "
            "and what it asks for your store (s3fs, gcsfs, adlfs, aiohttp). Or copy the model here."
        ) from error
    resolve = cast(Callable[[str], tuple[FileSystem, str]], fsspec.url_to_fs)
    try:
        return resolve(address)
    except (ImportError, ValueError, OSError) as error:
        raise ModelError(
            f"{address} cannot be used: {error}. Install what fsspec asks for, give another "
            "address, or copy the model here."
        ) from error
