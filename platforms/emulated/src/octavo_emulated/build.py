"""Building the emulator: its C++ source, compiled once for each torch and each version of itself.

    cache folder / torch version and a hash of source and flags / emulator.so

A lock keeps processes that start together from compiling twice; the library is written
beside its place and moved there whole.

Knows nothing of what the library does.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("emulator.cpp")
COMPILERS = ("g++", "clang++", "c++")
FLAGS = ("-std=c++20", "-O1", "-fPIC", "-shared", "-Wall", "-Wextra")
SHOWN_LINES = 12


class CannotBuild(Exception):
    """The emulator cannot be compiled here, and why."""


def compiler() -> str | None:
    """Find a C++ compiler; None where there is none."""
    return next(filter(None, map(shutil.which, COMPILERS)), None)


def built(torch_folder: Path, torch_version: str, *, cxx11_abi: bool, cache: Path) -> Path:
    """Give the library for one torch, compiled if it is not there yet.

    Effects: writes into the cache; the first time takes about half a minute.
    Raises: CannotBuild, without a compiler or with what the compiler said.
    """
    flags = (*FLAGS, f"-D_GLIBCXX_USE_CXX11_ABI={int(cxx11_abi)}")
    digest = hashlib.sha256(SOURCE.read_bytes() + " ".join(flags).encode()).hexdigest()[:12]
    folder = cache / f"torch-{torch_version}-{digest}"
    library = folder / "emulator.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            _compile(library, torch_folder, flags)
    return library


def cache_folder() -> Path:
    """Give the folder for what can be made again."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "octavo" / "emulated"


def _compile(library: Path, torch_folder: Path, flags: tuple[str, ...]) -> None:
    found = compiler()
    if found is None:
        raise CannotBuild(
            f"the emulated device is C++ and there is no compiler ({', '.join(COMPILERS)}); "
            "install one, such as the package g++"
        )
    headers = torch_folder / "include"
    unfinished = library.with_suffix(f".{os.getpid()}")
    command = [
        found, *flags, str(SOURCE), "-o", str(unfinished),
        # torch's own headers are not written for our warnings
        "-isystem", str(headers), "-isystem", str(headers / "torch/csrc/api/include"),
        "-L", str(torch_folder / "lib"), "-ltorch", "-ltorch_cpu", "-lc10",
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = "\n".join(ended.stderr.splitlines()[:SHOWN_LINES])
        raise CannotBuild(f"{found} cannot compile the emulated device:\n{said}")
    unfinished.replace(library)
