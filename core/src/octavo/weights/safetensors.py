"""Safetensors checkpoints: a folder of mapped files, read one tensor at a time.

The header is read here and not by the `safetensors` library: its numpy face knows no bfloat16
(TypeError, measured with 0.8) and copies every tensor that it gives. A header is eight bytes of
length and a JSON object; everything that it claims is checked before it is believed. Floats of
eight bits are widened (`narrow`).

Knows nothing of models: a tensor is a name, a shape and bits.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import prod
from pathlib import Path
from types import MappingProxyType

from octavo.errors import ModelError
from octavo.weights.code import pickled, pickles_in
from octavo.weights.mapped import MappedFile, TensorFile
from octavo.weights.narrow import NARROW
from octavo_platforms.tensor import DType, HostTensor, itemsize, put, storage

Opened = Callable[[str], TensorFile | None]

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

_MAX_HEADER_BYTES = 100_000_000
_DTYPES: Mapping[str, DType] = MappingProxyType(
    {
        "F64": "float64",
        "F32": "float32",
        "F16": "float16",
        "BF16": "bfloat16",
        "I64": "int64",
        "I32": "int32",
        "I8": "int8",
        "U64": "uint64",
        "U32": "uint32",
        "U16": "uint16",
        "U8": "uint8",
        "BOOL": "bool",
    }
)


class SafetensorsSource:
    """The tensors of a folder: `model.safetensors`, or the shards that its index names.

    `opened` opens files of tensors by their names, None where there is none; without it they lie
    in the folder, as the index does.

    Raises: ModelError, for a missing, truncated or malformed file, and for pickled checkpoints,
        which can run code when they are opened.
    Source: the safetensors format, github.com/huggingface/safetensors, README, "Format".
    """

    def __init__(self, folder: Path, opened: Opened | None = None) -> None:
        self._folder = folder
        shelf = functools.partial(_mapped, folder) if opened is None else opened
        if single := shelf(SINGLE):
            self._entries = _entries(single)
        elif (folder / INDEX).is_file():
            self._entries = _sharded(folder, shelf)
        else:
            raise ModelError(_why_nothing(folder))

    def names(self) -> Collection[str]:
        """Give the names of all tensors."""
        return self._entries.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Give a tensor's shape without reading it."""
        return self._entry(name).shape

    def dtype(self, name: str) -> DType:
        """Give the dtype that `read` delivers.

        Raises: ModelError, for a dtype that no device is asked to know.
        """
        entry = self._entry(name)
        narrow = NARROW.get(entry.kind)
        dtype = _DTYPES.get(entry.kind) if narrow is None else narrow.dtype
        if dtype is None:
            raise ModelError(
                f"{entry.file.path}: tensor '{name}' is stored as {entry.kind}; "
                f"known are {', '.join([*_DTYPES, *NARROW])}. Use a checkpoint in one of these."
            )
        return dtype

    def ahead(self, name: str) -> None:
        """Have a tensor's bytes fetched from the disk, without waiting for them."""
        entry = self._entry(name)
        entry.file.ahead(entry.offset, entry.num_bytes)

    def file_of(self, name: str) -> Path:
        """Give the file that holds a tensor."""
        return self._entry(name).file.path

    def kind(self, name: str) -> str:
        """Give the type that the file stores a tensor in, in its format's own word."""
        return self._entry(name).kind

    def read(self, name: str) -> HostTensor:
        """Give one tensor.

        Effects: the array is a read-only view of mapped memory, freed with its last reference;
            a new one where it had to be widened.
        Raises: ModelError, for a name or a dtype that is not known.
        """
        entry = self._entry(name)
        dtype = self.dtype(name)
        if narrow := NARROW.get(entry.kind):
            return narrow.widen(entry.file.array(entry.offset, narrow.stored, entry.shape))
        return HostTensor(entry.file.array(entry.offset, storage(dtype), entry.shape), dtype)

    def fill(self, name: str, into: HostTensor) -> None:
        """Read one tensor into an array: from the file itself, where nothing has to be converted.

        Raises: ModelError, for a name or a dtype that is not known, and for a file cut short.
        """
        entry = self._entry(name)
        is_plain = entry.kind not in NARROW and into.array.flags.c_contiguous
        if is_plain and self.dtype(name) == into.dtype:
            entry.file.fill(entry.offset, into.array)
        else:
            put(self.read(name), into)

    def _entry(self, name: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise ModelError(missing_tensor(str(self._folder), name, self._entries))
        return entry


def missing_tensor(where: str, name: str, names: Collection[str]) -> str:
    """Say that a checkpoint lacks a tensor, and which of its names come near."""
    close = get_close_matches(name, names, n=3)
    hint = f" Near it: {', '.join(close)}." if close else ""
    return (
        f"{where} has no tensor '{name}' among its {len(names)}.{hint} "
        "The config and the weights do not belong together, or a part is missing."
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    file: TensorFile
    offset: int
    num_bytes: int
    shape: tuple[int, ...]
    kind: str


def _entries(file: TensorFile) -> dict[str, _Entry]:
    header, data_start = _header(file)
    entries = {
        name: _entry(file, name, fields, data_start)
        for name, fields in header.items()
        if name != "__metadata__"
    }
    end = data_start
    for name, entry in sorted(
        entries.items(), key=lambda item: (item[1].offset, item[1].num_bytes)
    ):
        if entry.offset != end:
            what = "overlaps the tensor before it" if entry.offset < end else "follows a hole"
            raise _malformed(file, f"tensor '{name}' {what}")
        end += entry.num_bytes
    if end != file.num_bytes:
        what = "is truncated" if end > file.num_bytes else "has bytes that belong to no tensor"
        raise ModelError(
            f"{file.path} {what}: its header describes {end} bytes, it has {file.num_bytes}. "
            "Fetch it again."
        )
    return entries


def _header(file: TensorFile) -> tuple[Mapping[str, object], int]:
    if file.num_bytes < 8:
        raise ModelError(
            f"{file.path} is truncated: it has {file.num_bytes} bytes. Fetch it again."
        )
    num_bytes = int.from_bytes(file.bytes_at(0, 8), "little")
    if num_bytes > _MAX_HEADER_BYTES:
        raise _malformed(file, f"its header claims {num_bytes} bytes, above {_MAX_HEADER_BYTES}")
    if 8 + num_bytes > file.num_bytes:
        raise ModelError(
            f"{file.path} is truncated: its header alone takes {8 + num_bytes} bytes, "
            f"it has {file.num_bytes}. Fetch it again."
        )
    try:
        header = json.loads(file.bytes_at(8, num_bytes), object_pairs_hook=_each_once)
    except _Twice as twice:
        raise _malformed(file, f"its header names '{twice}' twice") from None
    except ValueError as error:
        raise _malformed(file, f"its header is no JSON ({error})") from error
    if not isinstance(header, dict):
        raise _malformed(file, "its header is no JSON object")
    return header, 8 + num_bytes


def _entry(file: TensorFile, name: str, fields: object, data_start: int) -> _Entry:
    match fields:
        case {"dtype": str(kind), "shape": [*shape], "data_offsets": [int(start), int(stop)]}:
            pass
        case _:
            raise _malformed(file, f"tensor '{name}' lacks dtype, shape or data_offsets")
    if not all(isinstance(size, int) and size >= 0 for size in shape) or not 0 <= start <= stop:
        raise _malformed(file, f"tensor '{name}' has shape {shape} at [{start}, {stop}]")
    size = _item_bytes(kind)
    if size is not None and prod(shape) * size != stop - start:
        raise _malformed(
            file,
            f"tensor '{name}', {kind} {shape}, needs {prod(shape) * size} bytes "
            f"and has {stop - start}",
        )
    return _Entry(file, data_start + start, stop - start, tuple(shape), kind)


def _mapped(folder: Path, name: str) -> TensorFile | None:
    path = folder / name
    if path.is_symlink() and not path.exists():
        raise ModelError(
            f"{path} is a link to {path.readlink()}, which is not there: it was not fetched to its "
            "end, or removed. Fetch it again."
        )
    return MappedFile(path) if path.is_file() else None


def _sharded(folder: Path, opened: Opened) -> dict[str, _Entry]:
    shard_of = _weight_map(folder / INDEX)
    shards: dict[str, dict[str, _Entry]] = {}
    for shard in sorted(set(shard_of.values())):
        if Path(shard).name != shard:
            raise ModelError(f"{folder / INDEX} names the shard '{shard}' outside of its folder.")
        file = opened(shard)
        if file is None:
            raise ModelError(
                f"{folder} lacks the shard {shard} of the {len(set(shard_of.values()))} that "
                f"{INDEX} names. Fetch the missing files."
            )
        shards[shard] = _entries(file)
    for name, shard in shard_of.items():
        if name not in shards[shard]:
            raise ModelError(
                f"{folder / shard} has no tensor '{name}', though {INDEX} says so. "
                "Fetch the shards and the index from the same revision."
            )
    return _joined(folder, shards)


def _joined(folder: Path, shards: Mapping[str, Mapping[str, _Entry]]) -> dict[str, _Entry]:
    """Put shards together; what the index left out counts too, for the model may not know it."""
    found: dict[str, _Entry] = {}
    for shard, entries in shards.items():
        for name, entry in entries.items():
            if name in found:
                raise ModelError(
                    f"{folder}: tensor '{name}' is in two shards, {found[name].file.path.name} "
                    f"and {shard}, and nobody can tell which one is right. "
                    "Fetch the shards and the index from the same revision."
                )
            found[name] = entry
    return found


def _weight_map(path: Path) -> Mapping[str, str]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_each_once)
    except _Twice as twice:
        raise ModelError(f"{path} names '{twice}' twice. Fetch it again.") from None
    except ValueError as error:
        raise ModelError(f"{path} is no JSON ({error}). Fetch it again.") from error
    match index:
        case {"weight_map": dict(shard_of)} if all(isinstance(s, str) for s in shard_of.values()):
            return shard_of
    raise ModelError(f"{path} has no 'weight_map' of tensor names to files. Fetch it again.")


class _Twice(Exception):
    """A key that a JSON object has twice, of which a parser would keep the last in silence."""


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Twice(next(key for key in keys if keys.count(key) > 1))
    return found


def _item_bytes(kind: str) -> int | None:
    """Give the bytes of a number, None for a dtype that is not known."""
    if narrow := NARROW.get(kind):
        return narrow.stored.itemsize
    dtype = _DTYPES.get(kind)
    return None if dtype is None else itemsize(dtype)


def _malformed(file: TensorFile, what: str) -> ModelError:
    return ModelError(f"{file.path} is no valid safetensors file: {what}. Fetch it again.")


def _why_nothing(folder: Path) -> str:
    if pickles := pickles_in(folder):
        return pickled(folder, pickles)
    if others := sorted(path.name for path in folder.glob("*.safetensors")):
        return (
            f"{folder} has {', '.join(others[:3])}{', ...' if len(others) > 3 else ''}, but "
            f"neither {SINGLE} nor {INDEX}, so nobody can tell whether they are all. "
            f"Fetch {INDEX} of the same revision; a file that is alone is to be named {SINGLE}."
        )
    return f"{folder} has neither {SINGLE} nor {INDEX}. Fetch the weights, or name another folder."
