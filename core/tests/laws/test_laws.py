"""The page of laws is true: its tests and its planted bugs exist, and belong to each other.

`LAWS.md` says where each law is held and what makes it fail. The bugs are run by `mutants`.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from octavo_conformance.mutants.planted import MUTANTS

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CORE_TESTS = ROOT / "core/tests"
PLACES = ("here, depth 1", "here, depth 2", "across, depth 1", "across, depth 2")
FAILS_BY = "fails by"
CONFORMANCE = " (conformance)"

# Section 6 of the design, and two more that the project's own page promises.
EVERY_LAW = {
    "Batch mates change no token",
    "The size of a chunk changes no token",
    "Prefix hits change no token",
    "Preemption changes no token",
    "Depth changes no token",
    "Drafts change no token",
    "The process boundary changes no token",
    "Tensor sharding changes no token",
    "A run of which fewer than 99 % is decided is no evidence",
    "A platform that promises batch invariance is held to the bit",
    "Nothing leaks",
    "A promise that is not kept is a failure",
    "A skip is legal only where nothing was promised",
    "Installing a plugin changes no object that it does not own",
    "Who gets no token ends alone",
    "A steady step makes no object for each request",
}


def laws() -> dict[str, dict[str, list[str]]]:
    """Read the page: for each law, what stands behind each of its heads."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in (HERE / "LAWS.md").read_text().splitlines():
        if line.startswith("## "):
            law = found[line[3:]] = defaultdict(list)
        elif line.startswith("- "):
            head, _, said = line[2:].partition(": ")
            law[head].append(said)
    return found


LAWS = laws()
ALL_SAID = [said for law in LAWS.values() for each in law.values() for said in each]
TESTS = sorted({said for said in ALL_SAID if ".py" in said})


def planted() -> dict[str, list[str]]:
    """Give the tests that each bug of the core makes fail, by its name."""
    rows = tomllib.loads((CORE_TESTS / "mutants/planted.toml").read_text())["mutant"]
    return {row["name"]: row.get("fails", []) for row in rows}


def path_of(test: str) -> Path:
    """Find a test's file, which is named from the core's tests or from the root."""
    file = test.partition("::")[0]
    return next(path for path in (CORE_TESTS / file, ROOT / file) if path.is_file())


@cache
def names_in(path: Path) -> set[str]:
    """Give the names of a file's tests."""
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.fixture(scope="module")
def collected() -> str:
    """Give the ids of all tests of this folder, as they are collected."""
    arguments = ["--collect-only", "-q", "-p", "no:cacheprovider", "laws"]
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(
        command, cwd=CORE_TESTS, capture_output=True, text=True, check=True
    ).stdout


def test_every_law_of_the_design_is_on_the_page_and_nothing_else() -> None:
    assert set(LAWS) == EVERY_LAW


@pytest.mark.parametrize("law", sorted(EVERY_LAW))
def test_a_law_has_a_test_or_a_reason_in_each_place_and_a_bug(law: str) -> None:
    heads = LAWS[law]
    for place in PLACES:
        assert heads[place], f"nothing is said of {place}"
        for said in heads[place]:
            assert ".py::" in said or re.fullmatch(r"— \w.{10,}", said), said
    assert heads[FAILS_BY]
    assert any(".py::" in said for place in PLACES for said in heads[place])


@pytest.mark.parametrize("test", sorted(TESTS))
def test_what_the_page_names_is_a_test(test: str) -> None:
    _, _, rest = test.partition("::")
    assert not rest or rest.partition("[")[0] in names_in(path_of(test))


def test_what_the_page_names_here_is_collected(collected: str) -> None:
    ours = [test for test in TESTS if test.startswith("laws/")]
    assert len(ours) > 20
    assert [test for test in ours if f"{test}\n" not in collected] == []


@pytest.mark.parametrize("law", sorted(EVERY_LAW))
def test_a_bug_makes_each_test_of_the_core_fail_that_holds_the_law(law: str) -> None:
    core, others = planted(), {mutant.name for mutant in MUTANTS}
    failing: set[str] = set()
    for said in LAWS[law][FAILS_BY]:
        if said.endswith(CONFORMANCE):
            assert said.removesuffix(CONFORMANCE) in others
        elif ".py" not in said:
            failing |= set(core[said])
    for place in PLACES:
        for said in LAWS[law][place]:
            if said.startswith(("laws/", "testing/")):
                whole = said.partition("[")[0]
                assert {said, whole} & failing, f"no bug is known to make this fail: {said}"
