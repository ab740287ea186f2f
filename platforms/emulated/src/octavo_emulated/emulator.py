"""The emulator as Python sees it: loaded into torch once a process, its memory and its launches.

Knows nothing of programs. Importing this imports torch.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import torch
from torch.utils.backend_registration import rename_privateuse1_backend

from octavo_emulated.build import CannotBuild, built, cache_folder
from octavo_emulated.device import MEMORY_BYTES, NAME
from octavo_platforms.capabilities import MemoryStats
from octavo_platforms.errors import CannotStart


@dataclass(slots=True)
class Launch:
    """What was seen between a launch's begin and its end.

    `signature` is equal for launches of the same ops on the same shapes, dtypes and scalars.
    `num_uploads` counts the copies from the host.
    """

    signature: int = 0
    num_ops: int = 0
    num_uploads: int = 0


class Emulator:
    """The device, there is one a process."""

    def __init__(self, library: Path) -> None:
        torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        self._calls = ctypes.CDLL(str(library))

    def set_memory_limit(self, num_bytes: int) -> None:
        """Say how much memory the device has from now on."""
        self._calls.emulator_set_limit(ctypes.c_int64(num_bytes))

    def stats(self) -> MemoryStats:
        """Tell how much memory there is and how much is free."""
        found = (ctypes.c_int64 * 2)()
        self._calls.emulator_memory(found)
        used, limit = found
        return MemoryStats(limit, max(0, limit - used))

    @property
    def num_waits(self) -> int:
        """Count how often the host waited until the device had done all that it was given."""
        self._calls.emulator_waits.restype = ctypes.c_int64
        return int(self._calls.emulator_waits())

    @contextmanager
    def launch(self) -> Iterator[Launch]:
        """Stand inside a launch, where the host may not wait for the device.

        Raises: RuntimeError, from the op that does.
        """
        seen = Launch()
        self._calls.emulator_begin_launch()
        try:
            yield seen
        finally:
            found = (ctypes.c_uint64 * 3)()
            self._calls.emulator_end_launch(found)
            seen.signature, seen.num_ops, seen.num_uploads = found

    def start(self) -> None:
        """Make torch know the device by its name. Raises: RuntimeError, where it has another."""
        self.set_memory_limit(MEMORY_BYTES)
        self._calls.emulator_start()
        rename_privateuse1_backend(NAME)
        if f"torch.{NAME}" not in sys.modules:
            register: Callable[[str, ModuleType], None] = torch._register_device_module  # noqa: SLF001
            register(NAME, _device_module())


@cache
def emulator() -> Emulator:
    """Give the emulator, compiled and loaded when it is first asked for.

    Raises: CannotStart, without a compiler, or where torch has another device of this kind.
    """
    folder, abi = Path(torch.__file__).parent, torch.compiled_with_cxx11_abi()
    try:
        library = built(folder, torch.__version__, cxx11_abi=abi, cache=cache_folder())
        found = Emulator(library)
        found.start()
    except (CannotBuild, OSError, RuntimeError) as error:
        raise CannotStart(f"the emulated device does not start: {error}") from error
    return found


def _device_module() -> ModuleType:
    """Make what torch asks of `torch.<device>`."""
    module = ModuleType(f"torch.{NAME}")
    module.is_available = lambda: True  # type: ignore[attr-defined]
    module.is_initialized = lambda: True  # type: ignore[attr-defined]
    # torch.manual_seed seeds every device it knows; this one draws no numbers of its own.
    module._is_in_bad_fork = lambda: False  # type: ignore[attr-defined]  # noqa: SLF001
    module.manual_seed_all = lambda seed: None  # type: ignore[attr-defined]
    module.device_count = lambda: 1  # type: ignore[attr-defined]
    module.current_device = lambda: 0  # type: ignore[attr-defined]
    return module
