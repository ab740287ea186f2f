"""docs/add-a-device.md: its code runs, and the numbers in it are counted here.

A block says what becomes of it: `python run` and `sh run` are run, in the order they stand in;
`file=PATH` is written to PATH. What `sh run` may say is what `run_line` knows.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from octavo_conformance import scaffold
from octavo_conformance.level0_package import MANDATORY
from octavo_platforms.hooks import PlatformHooks
from octavo_platforms.version import CONTRACT

from .installing import PACKAGES, console, install, python

pytest.importorskip("torch")
pytest.importorskip("hatchling")

PAGE = Path(__file__).parents[2] / "docs" / "add-a-device.md"
FENCE = re.compile(r"^```(\w+) ?(.*?)\n(.*?)^```$", re.M | re.S)
CONSOLES = {"octavo": "octavo.cli.main", "octavo-conformance": "octavo_conformance.cli"}
ALONE = Path(scaffold.__file__).parent / "alone"


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, what becomes of it, and its text."""

    language: str
    fate: str
    text: str


def blocks() -> Iterator[Block]:
    for found in FENCE.finditer(PAGE.read_text(encoding="utf-8")):
        yield Block(*found.groups())


class Reader:
    """Somebody who does what the page says, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.installed = folder / "installed"

    def follow(self, block: Block) -> None:
        if block.fate.startswith("file="):
            target = self.folder / block.fate.removeprefix("file=")
            target.parent.mkdir(parents=True, exist_ok=True)
            number = ".".join(map(str, CONTRACT))
            target.write_text(block.text.replace("@CONTRACT@", number))
        elif block.fate == "run" and block.language == "python":
            ended = python(self.installed, block.text)
            assert ended.returncode == 0, ended.stderr
        elif block.fate == "run":
            for line in block.text.splitlines():
                self.run_line(line)

    def run_line(self, line: str) -> None:
        command, *words = shlex.split(line, comments=True)
        if command == "pip":
            package = self.folder / words[1]
            install([package], self.installed, self.folder / "wheels" / package.name)
            return
        if "--into" in words:
            at = words.index("--into") + 1
            words[at] = str(self.folder / words[at])
        ended = console(self.installed, CONSOLES[command], *words)
        assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"


def test_page_can_be_followed_from_top_to_bottom(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    found = list(blocks())
    assert sum(block.fate == "run" for block in found) >= 5
    for block in found:
        reader.follow(block)
    for name in ("acme", "fork"):
        source = tmp_path / f"octavo-plugin-{name}"
        install([source], tmp_path / "again", tmp_path / "wheels" / f"again-{name}")
        words = ("--device", name, "--fast", "--level", "0,2", "-k", "silu_gate")
        ended = console(tmp_path / "again", "octavo_conformance.cli", "run", *words)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_page_counts_the_lines_and_names_of_the_smallest_packages() -> None:
    page = PAGE.read_text(encoding="utf-8")
    packages = {
        "a platform on the torch base with a kernel of its own": PACKAGES / "acme" / "src",
        "a fork that brings attention alone, its kernel included": PACKAGES / "fork" / "src",
        "a platform from scratch, in numpy": ALONE,
    }
    rows = [f"| {what} | {counted(folder)} |" for what, folder in packages.items()]
    assert [row for row in rows if f"{row}\n" not in page] == []


def test_page_names_every_hook_where_it_belongs() -> None:
    page = PAGE.read_text(encoding="utf-8")
    every = [name for name in vars(PlatformHooks) if not name.startswith("_")]
    attending = ["bind_linear", "bind_attention", "bind_kv_write", "bind_kv_read"]
    optional = sorted(set(every) - {*MANDATORY, *attending})
    rows = {
        "mandatory, where no base stands behind": list(MANDATORY),
        "wanted by models that attend": attending,
        "optional": optional,
    }
    for what, hooks in rows.items():
        shown = ", ".join(f"`{hook}`" for hook in hooks)
        assert f"| {len(hooks)} | {what}: {shown} |\n" in page, (what, shown)


def counted(folder: Path) -> str:
    """Count the lines of code under a folder, and the names of Octavo's that they import."""
    files = sorted(folder.rglob("*.py"))
    names = {name for path in files for name in names_in(path)}
    return f"{sum(num_lines(path) for path in files)} | {len(names)}"


def num_lines(path: Path) -> int:
    """Count the lines that are neither blank nor comment nor docstring."""
    text = path.read_text(encoding="utf-8")
    silent = {number for number, line in enumerate(text.splitlines(), 1) if is_silent(line)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            assert node.end_lineno is not None
            silent.update(range(node.lineno, node.end_lineno + 1))
    return len(text.splitlines()) - len(silent)


def is_silent(line: str) -> bool:
    return not line.strip() or line.strip().startswith("#")


def names_in(path: Path) -> Iterator[str]:
    """Walk the names that a file imports from Octavo's packages, a base's included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("octavo"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
