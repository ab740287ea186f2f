"""Scaffold: the package of a new platform, ready to be installed and to pass the suite.

    on torch    the torch base behind one kernel of the plugin's own
    alone       from scratch, in numpy: every hook that is mandatory, and a kernel a primitive

`alone` is code that is checked with everything else here; its name, `acme`, is replaced when
it is copied. Knows nothing of the suite that the package has to pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from octavo_platforms.version import CONTRACT

Base = Literal["torch", "none"]
BASES: tuple[Base, ...] = ("torch", "none")
NEEDS: Mapping[Base, str] = {"torch": "octavo-torch", "none": "numpy>=1.26"}
NAME = re.compile(r"[a-z][a-z0-9_]*")

_HERE = Path(__file__).parent
_TEXT, _ALONE = _HERE / "text", _HERE / "alone"


class CannotWrite(Exception):
    """A package that cannot be written, and what would help."""


def write_package(name: str, folder: Path, *, base: Base) -> list[Path]:
    """Write the package of a platform into a folder that is not there yet; gives its files.

    Raises: CannotWrite, for a name that is none, and for a folder that is there.
    """
    if NAME.fullmatch(name) is None:
        raise CannotWrite(f"'{name}' is no name for a platform; use a-z, 0-9 and _, as in 'acme'")
    if folder.exists():
        raise CannotWrite(f"{folder} is there already; choose another with --into")
    written = []
    for path, text in _files(base).items():
        target = folder / _named(path, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_named(text, name), encoding="utf-8")
        written.append(target)
    return written


def _files(base: Base) -> dict[str, str]:
    """Give the files of Acme's package, by path."""
    contract = ".".join(map(str, CONTRACT))
    project = _read(_TEXT / "pyproject.toml.txt").replace("@CONTRACT@", contract)
    found = {
        "pyproject.toml": project.replace("@NEEDS@", NEEDS[base]),
        "README.md": _read(_TEXT / "README.md.txt"),
        "tests/test_conformance.py": _read(_TEXT / "test_conformance.py.txt"),
    }
    if base == "torch":
        found["src/octavo_acme/__init__.py"] = _read(_TEXT / "on_torch.py.txt")
    else:
        for path in sorted(_ALONE.glob("*.py")):
            found[f"src/octavo_acme/{path.name}"] = _read(path)
    return found


def _named(text: str, name: str) -> str:
    title = "".join(part.capitalize() for part in name.split("_"))
    return text.replace("acme", name).replace("Acme", title)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
