"""The compiler: the C++ sources to one library beside this file, by whatever compiler is here.

The package's build loads this file by its path, so it imports nothing but Python's own. Knows
nothing of what the sources say.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parents[3] / "native"
LIBRARY = Path(__file__).with_name("liboctavo_cpu.so")
SANITIZED = Path(__file__).with_name("liboctavo_cpu_sanitized.so")
COMPILERS = ("c++", "g++", "clang++")
COMMAND = "python -m octavo_cpu.native.build"
_FLAGS = (
    "-std=c++17", "-shared", "-fPIC", "-pthread", "-fvisibility=hidden", "-Wall", "-Wextra",
    "-Wpedantic", "-Wconversion",
)  # fmt: skip
_FAST = ("-O3",)
_CHECKED = (
    "-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined", "-DOCTAVO_SANITIZED",
)  # fmt: skip


class BuildError(Exception):
    """The library could not be built, and why."""


def compiler() -> str | None:
    """Find a C++ compiler: what CXX names, or the first known one; None where there is none."""
    named = os.environ.get("CXX")
    for name in (named,) if named else COMPILERS:
        found = shutil.which(name)
        if found is not None:
            return found
    return None


def digest() -> str | None:
    """Give a name that equal sources share; None where there are no sources, as in a wheel."""
    if not SOURCES.is_dir():
        return None
    found = hashlib.sha256()
    for path in sorted(SOURCES.glob("*.[ch]pp")):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def build(*, is_sanitized: bool = False) -> Path:
    """Compile the library, and put it in place when it is whole. Raises: BuildError."""
    tool = compiler()
    if tool is None:
        wanted = os.environ.get("CXX") or ", ".join(COMPILERS)
        raise BuildError(
            f"there is no C++ compiler: looked for {wanted}; install one, as with "
            "`apt install g++`, or name one in CXX"
        )
    if not SOURCES.is_dir():
        raise BuildError(f"there are no sources at {SOURCES}; build from a checkout")
    target = SANITIZED if is_sanitized else LIBRARY
    made = target.with_suffix(f".{os.getpid()}.part")
    flags = (*_FLAGS, *(_CHECKED if is_sanitized else _FAST), f'-DOCTAVO_SOURCES="{digest()}"')
    sources = [str(path) for path in sorted(SOURCES.glob("*.cpp"))]
    command = [tool, *flags, *sources, "-o", str(made)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise BuildError(f"{tool} ended with {ended.returncode}:\n{ended.stderr.strip()}")
    made.replace(target)
    return target
