"""Check the rules of STYLE.md that ruff, mypy and import-linter cannot express.

Each rule is a function from one parsed file to the violations it finds; `RULES` lists them all.
What may stay in spite of a rule is a row of `budget.toml` with its reason; a row that excuses
nothing is a violation too.

Does not know: any module by name but the one that may read the environment. It imports no room.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

FILE_LINES, FUNCTION_LINES, POSITIONAL_ARGS = 400, 60, 6
CPP_FILE_LINES, CPP_FUNCTION_LINES = 800, 80
PYTHON, CPP = frozenset({".py"}), frozenset({".c", ".cc", ".cpp", ".h", ".hpp"})
SKIPPED_FOLDERS = frozenset(
    {".git", ".venv", ".nox", "build", "dist", "__pycache__", "node_modules"}
)

FORBIDDEN_NAMES = frozenset(
    {"utils", "util", "helpers", "helper", "common", "base", "misc", "manager", "v2", "new"}
)
ENVIRONMENT_READER = "core/src/octavo/config.py"
ENVIRONMENT_NAMES = frozenset({"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"})
DEVICE_WORDS = frozenset(
    "cuda rocm hip tpu xla gaudi hpu habana neuron trainium xpu mps npu ascend gpu "
    "nvidia amd intel apple triton torch jax".split()
)
PATCHERS = frozenset({"monkeypatch", "mocker", "mock", "MonkeyPatch", "MagicMock"})
FORMAT_WORDS = frozenset({"torch_dtype"})  # a key of published checkpoints' config.json
TODO = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b(?!\s*\(#\d+\))")
CPP_DEFINITION = re.compile(r"^(?![#\s}/])[^;=]*\)[^;]*\{\s*$")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its path in the repository, its text, and its syntax tree where it is Python."""

    path: PurePosixPath
    text: str
    tree: ast.Module | None

    @property
    def num_lines(self) -> int:
        """Count the lines of the file."""
        return self.text.count("\n") + (not self.text.endswith("\n") and bool(self.text))

    @property
    def is_test(self) -> bool:
        """Tell whether the file belongs to a room's tests."""
        return "tests" in self.path.parts


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: where, what, and what would mend it; `size` where the rule is a cap."""

    rule: str
    path: PurePosixPath
    line: int
    message: str
    name: str | None = None
    size: int | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: [{self.rule}] {self.message}"


@dataclass(frozen=True, slots=True)
class Exemption:
    """One row of budget.toml."""

    rule: str
    path: str
    reason: str
    name: str | None = None
    limit: int | None = None

    def covers(self, violation: Violation) -> bool:
        """Tell whether this row excuses the violation."""
        same = (self.rule, self.path) == (violation.rule, str(violation.path))
        named = self.name is None or self.name == violation.name
        return same and named and (violation.size is None or violation.size <= (self.limit or 0))


Rule = Callable[[Source], Iterator[Violation]]


def check(sources: Sequence[Source], exemptions: Sequence[Exemption]) -> list[Violation]:
    """Apply every rule to every file; leave out what is excused, add the excuses of nothing."""
    found = [v for source in sources for rule in RULES for v in rule(source)]
    left = [v for v in found if not any(e.covers(v) for e in exemptions)]
    for exemption in exemptions:
        if not any(exemption.covers(v) for v in found):
            what = f"{exemption.rule} {exemption.path} {exemption.name or ''}".rstrip()
            message = f"the exception for {what!r} excuses nothing; remove or correct it"
            left.append(Violation("stale-exception", PurePosixPath("budget.toml"), 1, message))
        if not exemption.reason.strip():
            message = f"the exception for {exemption.path} has no reason"
            left.append(Violation("stale-exception", PurePosixPath("budget.toml"), 1, message))
    return left


def read_exemptions(text: str) -> list[Exemption]:
    """Read budget.toml.

    Raises: TypeError for a key that an exception does not have.
    """
    return [Exemption(**row) for row in tomllib.loads(text).get("exception", [])]


def parse(path: PurePosixPath, text: str) -> Source:
    """Make a source of a file's text."""
    return Source(path, text, ast.parse(text, str(path)) if path.suffix in PYTHON else None)


def read_sources(root: Path) -> Iterator[Source]:
    """Read every Python and C++ file below the root, except in folders that tools make."""
    for path in sorted(root.rglob("*")):
        relative = PurePosixPath(path.relative_to(root).as_posix())
        if SKIPPED_FOLDERS.isdisjoint(relative.parts) and path.suffix in PYTHON | CPP:
            yield parse(relative, path.read_text(encoding="utf-8"))


def file_lines(source: Source) -> Iterator[Violation]:
    """A file is within its budget."""
    cap = FILE_LINES if source.tree else CPP_FILE_LINES
    if source.num_lines > cap:
        message = f"{source.num_lines} lines, at most {cap}: find the second idea and move it out"
        yield Violation("file-lines", source.path, 1, message, size=source.num_lines)


def function_lines(source: Source) -> Iterator[Violation]:
    """A function is within its budget."""
    for name, function in functions(source):
        size = (function.end_lineno or function.lineno) - function.lineno + 1
        if size > FUNCTION_LINES:
            message = f"{name} has {size} lines, at most {FUNCTION_LINES}"
            yield Violation("function-lines", source.path, function.lineno, message, name, size)


def positional_args(source: Source) -> Iterator[Violation]:
    """A function takes few arguments by position; `self` and `cls` are not counted."""
    for name, function in functions(source):
        taken = [*function.args.posonlyargs, *function.args.args]
        size = len(taken) - (bool(taken) and taken[0].arg in ("self", "cls"))
        if size > POSITIONAL_ARGS:
            message = (
                f"{name} takes {size} positional arguments, at most {POSITIONAL_ARGS}: use `*`"
            )
            yield Violation("positional-args", source.path, function.lineno, message, name, size)


def cpp_function_lines(source: Source) -> Iterator[Violation]:
    """A C++ function is within its budget: from a line in column 0 to the `}` in column 0."""
    if source.tree:
        return
    start: tuple[int, str] | None = None
    for number, line in enumerate(source.text.splitlines(), 1):
        if start is None and CPP_DEFINITION.match(line):
            start = number, line.split("(")[0].split()[-1]
        elif start is not None and line.startswith("}"):
            size, name = number - start[0] + 1, start[1]
            if size > CPP_FUNCTION_LINES:
                message = f"{name} has {size} lines, at most {CPP_FUNCTION_LINES}"
                yield Violation("function-lines", source.path, start[0], message, name, size)
            start = None


def docstring(source: Source) -> Iterator[Violation]:
    """A module says its idea."""
    if source.tree and not ast.get_docstring(source.tree):
        message = "no module docstring: say the idea, then what the file does not know"
        yield Violation("docstring", source.path, 1, message)


def module_name(source: Source) -> Iterator[Violation]:
    """A file and its folders are named after an idea."""
    for part in (*source.path.parts[:-1], source.path.stem):
        if part.removeprefix("test_") in FORBIDDEN_NAMES:
            message = f"the name {part!r} hides that the idea was not found"
            yield Violation("module-name", source.path, 1, message)


def environment(source: Source) -> Iterator[Violation]:
    """In core, the environment is read in one file."""
    if not in_core(source) or str(source.path) == ENVIRONMENT_READER:
        return
    for node in nodes(source):
        if isinstance(node, ast.Attribute) and is_name(node.value, "os"):
            names = [node.attr]
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in ENVIRONMENT_NAMES.intersection(names):
            message = f"os.{name}: only {ENVIRONMENT_READER} reads the environment"
            yield Violation("environment", source.path, node.lineno, message)


def device_words(source: Source) -> Iterator[Violation]:
    """Core names no device: not in an identifier, an import or a string that is not prose."""
    if not in_core(source):
        return
    prose = {id(n.value) for n in nodes(source) if isinstance(n, ast.Expr)}
    for node in nodes(source):
        for word in [] if id(node) in prose else identifiers(node):
            said = DEVICE_WORDS.intersection(re.split(r"[^a-z]+", word.lower()))
            if (said or word == "cpu") and word not in FORMAT_WORDS:
                message = f"{word!r} names a device or its framework: read a capability, call an op"
                yield Violation("device-words", source.path, getattr(node, "lineno", 1), message)


def todo(source: Source) -> Iterator[Violation]:
    """A note of work to do has an issue number behind it, in brackets."""
    for number, text in comments(source):
        if match := TODO.search(text):
            message = f"{match[1]} without an issue number, as in {match[1]}(#12)"
            yield Violation("todo", source.path, number, message)


def patching(source: Source) -> Iterator[Violation]:
    """A test builds the real object with small values."""
    for node in nodes(source) if source.is_test else ():
        for word in identifiers(node, strings=False):
            if PATCHERS.intersection(word.split(".")):
                message = f"{word!r}: build the real object with small values, patch nothing"
                yield Violation("patching", source.path, getattr(node, "lineno", 1), message)
            elif word == "__new__":
                message = "__new__: call the constructor, so that the object is whole"
                yield Violation("patching", source.path, getattr(node, "lineno", 1), message)


def private_import(source: Source) -> Iterator[Violation]:
    """A private name stays in its file."""
    for node in nodes(source):
        if isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        else:
            continue
        for name in names:
            if name.startswith("_") and not name.endswith("__"):
                message = f"{name} is private to its file: give it a name without the underscore"
                yield Violation("private-import", source.path, node.lineno, message)


RULES: tuple[Rule, ...] = (
    file_lines,
    function_lines,
    positional_args,
    cpp_function_lines,
    docstring,
    module_name,
    environment,
    device_words,
    todo,
    patching,
    private_import,
)


def in_core(source: Source) -> bool:
    """Tell whether the file is code of the core."""
    return source.path.is_relative_to("core/src")


def nodes(source: Source) -> Iterator[ast.AST]:
    """Walk a file's syntax tree; a file that is not Python has none."""
    return ast.walk(source.tree) if source.tree else iter(())


def functions(source: Source) -> Iterator[tuple[str, Function]]:
    """Name every function of a file as Python qualifies it, without the `<locals>`."""

    def visit(node: ast.AST, scope: str) -> Iterator[tuple[str, Function]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function | ast.ClassDef):
                name = f"{scope}{child.name}"
                if isinstance(child, Function):
                    yield name, child
                yield from visit(child, f"{name}.")
            else:
                yield from visit(child, scope)

    return visit(source.tree, "") if source.tree else iter(())


def identifiers(node: ast.AST, *, strings: bool = True) -> Iterator[str]:
    """Give the names that one node writes, and its string where it is one."""
    match node:
        case ast.Name(id=word) | ast.Attribute(attr=word) | ast.arg(arg=word):
            yield word
        case ast.keyword(arg=str(word)):
            yield word
        case ast.FunctionDef(name=word) | ast.AsyncFunctionDef(name=word) | ast.ClassDef(name=word):
            yield word
        case ast.Import() | ast.ImportFrom():
            yield from ([node.module] if isinstance(node, ast.ImportFrom) and node.module else [])
            yield from (alias.name for alias in node.names)
        case ast.Constant(value=str(word)) if strings:
            yield word


def is_name(node: ast.AST, name: str) -> bool:
    """Tell whether the node is this plain name."""
    return isinstance(node, ast.Name) and node.id == name


def comments(source: Source) -> Iterator[tuple[int, str]]:
    """Give the lines that may hold prose: Python's comments and docstrings, every line of C++."""
    if source.tree is None:
        yield from enumerate(source.text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in nodes(source):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.lineno, str(node.value.value)


def main(arguments: Sequence[str]) -> int:
    """Print the violations below a folder; the exit status says whether there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parent.parent)
    root: Path = parser.parse_args(arguments).root
    exemptions = read_exemptions((root / "budget.toml").read_text(encoding="utf-8"))
    sources = list(read_sources(root))
    violations = check(sources, exemptions)
    for violation in violations:
        print(violation)
    print(f"{len(sources)} files, {len(violations)} violations", file=sys.stderr)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
