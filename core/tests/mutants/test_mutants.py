"""Bugs planted in the engine, one at a time: each is caught by the tests that are named for it.

`planted.toml` has the bugs: a file, what it says, what it is made to say, and who must notice:
one of the tests that it is `caught_by`, or every single one of those it `fails`. A bug whose line
has changed is an error, so the list stays true.

Does not know: what the engine does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CORE = HERE.parents[1]
TESTS_FAILED = 1
AT_LEAST = 10
PATIENCE_S = 300


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug: in `file`, `old` becomes `new`; `caught_by` and `fails` are tests here."""

    name: str
    file: str
    old: str
    new: str
    caught_by: str = ""
    fails: Sequence[str] = ()

    def __str__(self) -> str:
        return self.name


MUTANTS = [Mutant(**row) for row in tomllib.loads((HERE / "planted.toml").read_text())["mutant"]]


def test_there_are_enough_of_them_and_no_two_have_one_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= AT_LEAST


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_bug_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    copy = tmp_path / "octavo"
    shutil.copytree(CORE / "src/octavo", copy, ignore=shutil.ignore_patterns("__pycache__"))
    text = (copy / mutant.file).read_text()
    assert text.count(mutant.old) == 1, f"{mutant.file} does not say once: {mutant.old}"
    (copy / mutant.file).write_text(text.replace(mutant.old, mutant.new))
    chosen = mutant.fails or mutant.caught_by.split()
    options = ["-q", "--no-header", "-p", "no:cacheprovider", *([] if mutant.fails else ["-x"])]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *chosen],
        cwd=CORE / "tests",
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    said = found.stdout[-2000:] + found.stderr[-2000:]
    assert found.returncode == TESTS_FAILED, said
    if mutant.fails:
        assert re.fullmatch(r"\d+ failed in .*", found.stdout.splitlines()[-1]), said
