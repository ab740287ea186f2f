"""What a process that we start is told before anything else: a line of JSON on its standard input.

The input then stays open and silent, for as long as whoever started it lives.

Does not know what the process does with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from octavo.config import Settings

Told = TypeVar("Told")

_MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class EngineLaunch:
    """What an engine process needs: where to be found, what to load, and what loads it.

    `loader` names a function, as `module:name`, from settings to a loaded model.
    """

    folder: Path
    settings: Settings
    loader: str


def spawn(module: str, note: object, *, inherit: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Start a module of ours as a process, in a session of its own, and hand it its note.

    A signal from the terminal so reaches only whoever started it, who decides what becomes of
    the others. `inherit` are file descriptors that stay open in it under the same numbers.

    Effects: the process's standard input stays open until it is closed here, or we end.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        pass_fds=inherit,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        process.stdin.write(msgspec.json.encode(note, enc_hook=_plain) + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it has ended already, and whoever waits for it will see why
    return process


def read_note(kind: type[Told], source: int) -> Told:
    """Read the note that this process was started with."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _MAX_LINE_BYTES:
        more = os.read(source, 65536)
        if not more:
            break
        line += more
    return msgspec.json.decode(line, type=kind, dec_hook=_rich)


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no encoding")


def _rich(wanted: type, value: object) -> object:
    if wanted is object:
        return value
    if wanted is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"{wanted} has no encoding")
