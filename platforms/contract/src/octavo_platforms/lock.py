"""The lock: the contract's public face as text, so that no change of it goes unnoticed.

    python -m octavo_platforms.lock --check    fails where the face differs from contract.lock
    python -m octavo_platforms.lock --write    locks a face whose number is another

The face is every public signature, field, default, constant and op of every module here, taken
from the source rather than from the running interpreter, so that it reads alike on every
Python. Docstrings and private names are not part of it.

Knows nothing of what a change means; whoever raises the number does.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

LOCK = "contract.lock"
REMEDY = "raise CONTRACT in version.py, then run: python -m octavo_platforms.lock --write"
PUBLIC_MAGIC = frozenset({"__init__", "__call__", "__getitem__", "__iter__", "__len__", "__all__"})

_HERE = Path(__file__).parent
_DROPPED = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_SPACED = {",": ", ", ":": ": ", "->": " -> ", "|": " | "}


def face(root: Path = _HERE) -> str:
    """Write the public face of the package in a folder."""
    lines = [f"contract {number(root)}"]
    for path in sorted(root.rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        if path.name == Path(__file__).name:
            continue
        lines += ["", f"module {name}", *_Module(path.read_text(encoding="utf-8")).lines()]
    return "\n".join(lines) + "\n"


def number(root: Path = _HERE) -> str:
    """Read the contract's number from version.py. Raises: ValueError, where it is not there."""
    for node in ast.parse((root / "version.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CONTRACT":
            return ".".join(str(part) for part in ast.literal_eval(node.value))
    raise ValueError(f"{root / 'version.py'} does not say CONTRACT = (major, minor)")


def problem(root: Path = _HERE) -> str | None:
    """Say what is wrong with the lock, and the remedy; None where it fits."""
    path = root / LOCK
    if not path.exists():
        return f"there is no {LOCK}; run: python -m octavo_platforms.lock --write"
    locked, found = path.read_text(encoding="utf-8"), face(root)
    if locked == found:
        return None
    diff = "".join(
        difflib.unified_diff(
            locked.splitlines(True), found.splitlines(True), "locked", "found", n=1
        )
    )
    theirs = locked.partition("\n")[0].removeprefix("contract ")
    if theirs == number(root):
        return f"{diff}\nthe contract changed under its number {theirs}: {REMEDY}"
    return f"{diff}\n{LOCK} is of {theirs}, the contract is {number(root)}; run --write"


def write(root: Path = _HERE) -> str | None:
    """Lock the face; gives what forbids it: another face under a number that is locked."""
    path = root / LOCK
    locked = path.read_text(encoding="utf-8") if path.exists() else ""
    if locked.partition("\n")[0] == f"contract {number(root)}" and locked != face(root):
        return problem(root)
    path.write_text(face(root), encoding="utf-8")
    return None


def main(arguments: Sequence[str] | None = None, *, root: Path = _HERE) -> int:
    """Check or write; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="octavo_platforms.lock", description="The contract's lock."
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="fail on a change that has no number")
    action.add_argument("--write", action="store_true", help="lock the face under its number")
    wrong = problem(root) if parser.parse_args(arguments).check else write(root)
    if wrong is not None:
        print(wrong, file=sys.stderr)
        return 1
    return 0


class _Module:
    """One module's source, read for what it offers."""

    def __init__(self, source: str) -> None:
        self._tree = ast.parse(source)
        self._rows = source.splitlines(keepends=True)

    def lines(self) -> Iterator[str]:
        """Give the offers, by name."""
        found: dict[str, list[str]] = {}
        for node in self._tree.body:
            name = _name(node)
            if name is not None and _is_public(name):
                found[name] = list(self._offer(node, "  "))
        for name in sorted(found):
            yield from found[name]

    def _offer(self, node: ast.stmt, indent: str) -> Iterator[str]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from self._decorators(node, indent)
            yield indent + self._header(node)
        elif isinstance(node, ast.ClassDef):
            yield from self._decorators(node, indent)
            yield indent + self._header(node)
            for inner in node.body:
                name = _name(inner)
                if name is not None and _is_public(name):
                    yield from self._offer(inner, indent + "  ")
        else:
            yield indent + _joined(self._text(node))

    def _decorators(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, indent: str
    ) -> Iterator[str]:
        for each in node.decorator_list:
            yield f"{indent}@{_joined(self._text(each))}"

    def _text(self, node: ast.stmt | ast.expr) -> str:
        """Give a node's own text; columns count bytes."""
        last = node.end_lineno or node.lineno
        rows = [row.encode() for row in self._rows[node.lineno - 1 : last]]
        rows[-1] = rows[-1][: node.end_col_offset]
        rows[0] = rows[0][node.col_offset :]
        return b"".join(rows).decode()

    def _header(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
        """Give what stands between `def` or `class` and its colon."""
        first = node.body[0]
        rows = self._rows[node.lineno - 1 : first.lineno]
        text = "".join(rows) if first.lineno > node.lineno else rows[0]
        return _joined(text[node.col_offset :], is_header=True)


def _name(node: ast.stmt) -> str | None:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return None


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name in PUBLIC_MAGIC


def _joined(text: str, *, is_header: bool = False) -> str:
    """Join the tokens of a text in one way, however its lines were broken."""
    parts: list[str] = []
    is_tuple: list[bool] = []
    num_commas: list[int] = []
    for token in _tokens(text):
        if token in _OPENING:
            is_tuple.append(token == "(" and not (parts and re.search(r"[\w)\]]$", parts[-1])))
            num_commas.append(0)
        elif token in _CLOSING and num_commas:
            needs_comma = (is_tuple.pop(), num_commas.pop()) == (True, 1)
            if parts[-1] == "," and not needs_comma:
                parts.pop()
        elif token == "," and num_commas:
            num_commas[-1] += 1
        elif token == ":" and is_header and not num_commas:
            break
        parts.append(token)
    line = ""
    for part in parts:
        is_word = bool(re.match(r"[\w'\"]", part))
        apart = " " if is_word and re.search(r"[\w'\"]$", line) else ""
        line += apart + _SPACED.get(part, part)
    return line.strip().replace(", )", ",)")


def _tokens(text: str) -> Iterator[str]:
    """Give the tokens that mean something; the text may end in the middle of a block."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type not in _DROPPED and token.string:
                yield token.string
    except (tokenize.TokenError, IndentationError):
        return


if __name__ == "__main__":
    sys.exit(main())
