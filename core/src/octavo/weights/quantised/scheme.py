"""What a scheme says of a checkpoint: which tensors it holds in other ones, and how they are made.

A tensor is made a run of rows at a time, in float32, so that none is ever held wide and whole.
What is asked here is asked of headers; numbers are read when a tensor is opened.

Knows no scheme.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octavo.errors import ModelError
from octavo.weights.lowered import FileSource
from octavo_platforms.tensor import Array, DType, to_float

Floats = npt.NDArray[np.float32]
Rows = Callable[[int, int], Floats]
"""From a run along the first axis, by start and stop, to its numbers."""

Config = Mapping[str, object]

FLOATS: tuple[DType, ...] = ("float16", "bfloat16", "float32", "float64")
BYTES: tuple[DType, ...] = ("uint8",)
WORDS: tuple[DType, ...] = ("int32", "uint32")


@dataclass(frozen=True, slots=True)
class Made:
    """A plain tensor that is made of others.

    `uses` are the stored tensors that nobody else needs then; `open` reads them.
    """

    shape: tuple[int, ...]
    uses: tuple[str, ...]
    open: Callable[[], Rows]


@dataclass(frozen=True, slots=True)
class Scheme:
    """A scheme as it was found in a checkpoint: plain tensors by name, and words for people."""

    words: str
    tensors: Mapping[str, Made]


Build = Callable[[FileSource, Config], Scheme]
"""From a source and its `quantization_config` to what was found. Raises: ModelError."""


def stems(source: FileSource, suffix: str) -> Iterator[str]:
    """Walk what stands before a suffix, over the names that end in it."""
    for name in sorted(source.names()):
        if name.endswith(suffix):
            yield name.removesuffix(suffix)


def present(source: FileSource, *names: str) -> tuple[str, ...]:
    """Give those of some names that there are."""
    there = source.names()
    return tuple(name for name in names if name in there)


def need(source: FileSource, scheme: str, *names: str) -> None:
    """Refuse a tensor that lacks a part of it. Raises: ModelError, with the first that is gone."""
    for name in names:
        if name not in source.names():
            raise ModelError(
                f"{source.file_of(names[0])}: the {scheme} tensor '{names[0]}' comes without "
                f"'{name}', and cannot be read without it. Fetch all files of the checkpoint."
            )


def misfit(source: FileSource, scheme: str, *names: str, expected: str) -> ModelError:
    """Say that the parts of a tensor do not fit together: what they are, and what is expected."""
    shown = ", ".join(f"'{name}' {list(source.shape(name))}" for name in names)
    return ModelError(
        f"{source.file_of(names[0])}: {shown} do not fit together as {scheme}; expected: "
        f"{expected}. The config's quantization_config and the files do not belong together; "
        "fetch both from one revision."
    )


def need_dtype(source: FileSource, scheme: str, dtypes: Collection[DType], *names: str) -> None:
    """Refuse a part that is stored as another kind of numbers. Raises: ModelError."""
    for name in names:
        if source.dtype(name) not in dtypes:
            raise ModelError(
                f"{source.file_of(name)}: '{name}' is stored as {source.dtype(name)}, but "
                f"{scheme} expects {' or '.join(dtypes)} there. The file was written by something "
                "else than its config says; fetch both from one revision."
            )


def unknown(key: str, given: object, scheme: str, known: Iterable[object]) -> ModelError:
    """Say that a config's value is not built, and which are."""
    return ModelError(
        f"config.json: {scheme} with the {key} {given!r} is not built; known: "
        f"{', '.join(str(each) for each in known)}. Use a checkpoint in one of these."
    )


def array(source: FileSource, name: str) -> Array:
    """Read a tensor of integers."""
    return source.read(name).array


def scales(source: FileSource, name: str) -> Floats:
    """Read what numbers are multiplied by, in float32. Raises: ModelError, where one is no number.

    One scale that is not finite spoils a whole group of weights, and so all text.
    """
    return all_finite(source, name, to_float(source.read(name)))


def all_finite(source: FileSource, name: str, found: Floats) -> Floats:
    """Give scales back as they are. Raises: ModelError, where one is no finite number."""
    if not np.isfinite(found).all():
        raise ModelError(
            f"{source.file_of(name)}: the scales '{name}' are not all finite numbers. Fetch the "
            "file again; if that does not help, it was saved broken."
        )
    return found
