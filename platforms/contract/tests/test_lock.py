"""The lock fits the contract, and is seen to fail on a changed copy of it.

Does not know what the contract says.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import octavo_platforms
from octavo_platforms.lock import LOCK, face, main, problem, write

PACKAGE = Path(octavo_platforms.__file__).parent

CHANGES = [
    ("capabilities.py", "max_in_flight: int = 1", "max_in_flight: int = 2"),
    ("capabilities.py", "priority: int", "priority: float"),
    ("hooks.py", "def make_memory(self, context", "def make_memory(self, opened"),
    ("platform.py", "def stats(self)", "def statistics(self)"),
    ("ops/state.py", "writes=(3,)", "writes=(2,)"),
    ("ops/dense.py", 'Op(name="silu"', 'Op(name="swish"'),
    ("ops/dense.py", ", decompose=_decompose_silu_gate", ""),
    ("tolerance.py", '"linear": (64.0', '"linear": (65.0'),
    ("graph.py", "    scope: str\n", "    scope: str\n    hint: str = ''\n"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    root = tmp_path / "octavo_platforms"
    shutil.copytree(PACKAGE, root, ignore=shutil.ignore_patterns("__pycache__", LOCK))
    assert write(root) is None
    return root


def change(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_text()
    assert old in text, f"{file} no longer has {old!r}"
    (root / file).write_text(text.replace(old, new))


def test_lock_in_the_package_fits() -> None:
    assert problem() is None, "see the remedy in the message"


@pytest.mark.parametrize(("file", "old", "new"), CHANGES, ids=[new for _, _, new in CHANGES])
def test_change_under_the_same_number_fails_with_a_diff_and_the_remedy(
    copy: Path, file: str, old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(copy, file, old, new)
    for action in ("--check", "--write"):
        assert main([action], root=copy) == 1
        said = capsys.readouterr().err
        assert "\n@@ " in said
        assert "raise CONTRACT in version.py" in said


def test_raised_number_has_to_be_locked_and_then_fits(copy: Path) -> None:
    change(copy, *CHANGES[0])
    change(copy, "version.py", "CONTRACT = (0, ", "CONTRACT = (0, 9")
    assert "run --write" in (problem(copy) or "")
    assert main(["--write"], root=copy) == 0
    assert main(["--check"], root=copy) == 0


def test_words_private_names_and_line_breaks_are_not_locked(copy: Path) -> None:
    change(copy, "capabilities.py", "What a platform says of itself", "What it says")
    change(copy, "asking.py", "def _linear(", "def _dense(")
    change(
        copy,
        "inputs.py",
        "    max_query: int\n",
        "    max_query: (\n        int\n    )  # a word\n",
    )
    change(copy, "inputs.py", "    max_query: (\n        int\n    )", "    max_query: int")
    change(
        copy,
        "recipes.py",
        "def shape_of(recipe: Recipe, source: WeightSource)",
        "def shape_of(\n    recipe: Recipe,\n    source: WeightSource,\n)",
    )
    assert problem(copy) is None


def test_missing_lock_names_the_remedy(copy: Path) -> None:
    (copy / LOCK).unlink()
    assert "--write" in (problem(copy) or "")


def test_face_has_no_address_and_is_the_same_twice() -> None:
    assert face() == face()
    assert " at 0x" not in face()
