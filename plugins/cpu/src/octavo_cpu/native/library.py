"""The compiled library, as Python sees it: its functions, and the structs that they take.

The structs mirror `native/entry.hpp` field by field. A library that was built from other
sources than those beside it is refused, so that the two cannot drift apart.

Knows nothing of graphs or of what an op means.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import POINTER, c_char_p, c_double, c_int32, c_int64, c_void_p
from pathlib import Path

from octavo_cpu.native.compiler import COMMAND, LIBRARY, SANITIZED, compiler, digest
from octavo_platforms.errors import CannotStart

MAX_RANK = 4
MAX_OPERANDS = 8
MESSAGE_BYTES = 256
CONSTANT, SCRATCH, INPUT, OUTPUT = range(4)
NO_SYMBOL = -1


class DimStruct(ctypes.Structure):
    """A size: symbol * times / over + plus; without a symbol, plus alone."""

    _fields_ = (("symbol", c_int32), ("times", c_int32), ("over", c_int32), ("plus", c_int32))


class ValueStruct(ctypes.Structure):
    """Where a value's elements lie, what they are, and how many."""

    _fields_ = (
        ("dtype", c_int32),
        ("rank", c_int32),
        ("place", c_int32),
        ("number", c_int32),
        ("at", c_int64),
        ("dims", DimStruct * MAX_RANK),
    )


class InstructionStruct(ctypes.Structure):
    """An op on values, with its attributes."""

    _fields_ = (
        ("op", c_int32),
        ("num_in", c_int32),
        ("num_out", c_int32),
        ("ins", c_int32 * MAX_OPERANDS),
        ("outs", c_int32 * MAX_OPERANDS),
        ("real", c_double),
        ("integer", c_int64),
    )


class CountsStruct(ctypes.Structure):
    """How many of each an entry is made for."""

    _fields_ = (
        ("values", c_int64),
        ("instructions", c_int64),
        ("symbols", c_int64),
        ("inputs", c_int64),
        ("outputs", c_int64),
    )


_FACE: Mapping[str, tuple[type | None, tuple[type, ...]]] = {
    "octavo_sources": (c_char_p, ()),
    "octavo_op": (c_char_p, (c_int32,)),
    "octavo_alloc": (c_void_p, (c_int64,)),
    "octavo_free": (None, (c_void_p,)),
    "octavo_pack": (None, (c_void_p, c_void_p, c_int64, c_int64, c_int32)),
    "octavo_pool_new": (c_void_p, (c_int32, c_char_p)),
    "octavo_pool_free": (None, (c_void_p,)),
    "octavo_entry_new": (
        c_void_p,
        (
            c_void_p,
            c_void_p,
            POINTER(CountsStruct),
            POINTER(ValueStruct),
            POINTER(InstructionStruct),
            c_char_p,
        ),
    ),
    "octavo_entry_free": (None, (c_void_p,)),
    "octavo_launch": (
        c_int32,
        (c_void_p, POINTER(c_int64), POINTER(c_void_p), POINTER(c_void_p), c_char_p),
    ),
}


def missing(path: Path = LIBRARY) -> str | None:
    """Say what keeps the library from being used, and the remedy; None where nothing does."""
    if not path.is_file():
        tool = "a compiler is here" if compiler() else "first install one, as with apt install g++"
        return (
            "the compiled library is missing: no C++ compiler was found when the package was "
            f"built. To get it, run `{COMMAND}` in a checkout, or reinstall the package ({tool})"
        )
    try:
        opened(path)
    except CannotStart as error:
        return str(error)
    return None


def opened(path: Path = LIBRARY) -> Library:
    """Open the library. Raises: CannotStart, for one that is broken or of other sources."""
    try:
        return Library(ctypes.CDLL(str(path)))
    except OSError as error:
        remedy = f"{COMMAND} --sanitize" if path == SANITIZED else COMMAND
        raise CannotStart(
            f"the compiled library cannot be loaded: {error}; run `{remedy}`"
        ) from error


class Library:
    """The functions of the compiled library. Raises: CannotStart, for one of other sources."""

    def __init__(self, found: ctypes.CDLL) -> None:
        try:
            for name, (result, arguments) in _FACE.items():
                function = getattr(found, name)
                function.restype, function.argtypes = result, arguments
        except AttributeError as error:
            raise CannotStart(f"the compiled library is another one: {error}") from error
        self._found = found
        built_from, sources = found.octavo_sources().decode(), digest()
        if sources is not None and built_from != sources:
            raise CannotStart(
                f"the compiled library was built from other sources ({built_from or 'unknown'}, "
                f"here are {sources}); run `{COMMAND}`"
            )
        self.number_of: Mapping[str, int] = {name: at for at, name in enumerate(self._ops())}

    def alloc(self, num_bytes: int) -> int:
        """Give the address of zeros. Raises: MemoryError."""
        address: int | None = self._found.octavo_alloc(num_bytes)
        if address is None:
            raise MemoryError(f"the host has no {num_bytes} bytes in one piece")
        return address

    def free(self, address: int) -> None:
        """Give memory back."""
        self._found.octavo_free(address)

    def pack(self, weight: int, packed: int, shape: tuple[int, int], dtype: int) -> None:
        """Lay a linear weight out in blocks of sixteen outputs."""
        self._found.octavo_pack(weight, packed, *shape, dtype)

    def new_pool(self, num_threads: int) -> int:
        """Start threads. Raises: CannotStart."""
        words = ctypes.create_string_buffer(MESSAGE_BYTES)
        pool: int | None = self._found.octavo_pool_new(num_threads, words)
        if pool is None:
            raise CannotStart(f"no {num_threads} threads: {words.value.decode()}")
        return pool

    def free_pool(self, pool: int) -> None:
        """End threads."""
        self._found.octavo_pool_free(pool)

    def new_entry(
        self,
        pool: int,
        scratch: int,
        counts: CountsStruct,
        values: Sequence[ValueStruct],
        instructions: Sequence[InstructionStruct],
    ) -> int:
        """Hand an entry over. Raises: CannotStart."""
        words = ctypes.create_string_buffer(MESSAGE_BYTES)
        entry: int | None = self._found.octavo_entry_new(
            pool,
            scratch,
            counts,
            (ValueStruct * len(values))(*values),
            (InstructionStruct * len(instructions))(*instructions),
            words,
        )
        if entry is None:
            raise CannotStart(f"the library refuses an entry: {words.value.decode()}")
        return entry

    def free_entry(self, entry: int) -> None:
        """Let go of an entry."""
        self._found.octavo_entry_free(entry)

    def launch(
        self, entry: int, sizes: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]
    ) -> None:
        """Run an entry to its end. Raises: RuntimeError, with the library's words."""
        words = ctypes.create_string_buffer(MESSAGE_BYTES)
        failed = self._found.octavo_launch(
            entry,
            (c_int64 * len(sizes))(*sizes),
            (c_void_p * len(inputs))(*inputs),
            (c_void_p * len(outputs))(*outputs),
            words,
        )
        if failed:
            raise RuntimeError(f"the launch failed: {words.value.decode()}")

    def _ops(self) -> list[str]:
        names: list[str] = []
        while (name := self._found.octavo_op(len(names))) is not None:
            names.append(name.decode())
        return names
