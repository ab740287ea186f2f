"""Every import rule is seen to fail on a module that breaks it, and to hold for the rooms as is.

The rules run on a copy of the rooms' sources, to which each case adds one line.
Does not know: what the rules say; they are data in pyproject.toml.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS = {contract["id"]: contract for contract in SETTINGS["contracts"]}
PUBLIC = {"__main__", "errors", "graph", "models", "testing"}

# Contract, the module that breaks it, the line that does.
BROKEN = [
    ("rooms", "octavo_platforms/graph.py", "import octavo"),
    ("rooms", "octavo_cpu/__init__.py", "import octavo.engine"),
    ("rooms", "octavo/errors.py", "import octavo_cpu"),
    ("rooms", "octavo_torch/__init__.py", "import octavo"),
    ("contract-is-light", "octavo_platforms/stowaway.py", "import torch"),
    ("core-names-no-device", "octavo/errors.py", "import torch"),
    ("core-names-no-device", "octavo/errors.py", "import octavo_torch"),
    (
        "conformance-finds-platforms-as-users-do",
        "octavo_conformance/stowaway.py",
        "import octavo_cpu",
    ),
    (
        "conformance-sees-the-public-face",
        "octavo_conformance/stowaway.py",
        "import octavo.scheduler",
    ),
    ("heart-is-light", "octavo/scheduler.py", "import tokenizers"),
    (
        "heart-asks-no-capability",
        "octavo/scheduler.py",
        "from octavo_platforms.capabilities import PlatformInfo",
    ),
    ("pool-knows-no-requests", "octavo/kv/pool.py", "from octavo.request import Request"),
    ("floors", "octavo/step.py", "import octavo.scheduler"),
    ("floors", "octavo/stowaway.py", "import octavo.errors"),
]


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("rooms")
    for source in [*ROOT.glob("*/src/*"), *ROOT.glob("*/*/src/*")]:
        shutil.copytree(
            source, copy / source.name, ignore=lambda folder, names: python_alone(folder, names)
        )
    return copy


def python_alone(folder: str, names: list[str]) -> Iterator[str]:
    return (n for n in names if not n.endswith(".py") and not (Path(folder) / n).is_dir())


def lint(rooms: Path, contract: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
            *("--config", str(ROOT / "pyproject.toml")),
            *("--contract", contract),
        ],
        cwd=rooms,
        env=os.environ | {"PYTHONPATH": str(rooms), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("contract", CONTRACTS)
def test_rule_holds_for_the_rooms_as_they_are(rooms: Path, contract: str) -> None:
    result = lint(rooms, contract)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("contract", "module", "line"), BROKEN)
def test_rule_fails_on_the_module_that_breaks_it(
    rooms: Path, contract: str, module: str, line: str
) -> None:
    path = rooms / module
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{line}\n")
    try:
        result = lint(rooms, contract)
    finally:
        path.unlink() if before is None else path.write_text(before)
    assert f"{CONTRACTS[contract]['name']} BROKEN" in result.stdout, result.stdout + result.stderr
    assert result.returncode != 0


def test_every_rule_has_a_module_that_breaks_it() -> None:
    assert {contract for contract, _, _ in BROKEN} == CONTRACTS.keys()


def test_every_core_module_is_either_public_or_forbidden_to_conformance() -> None:
    layers = " ".join(CONTRACTS["floors"]["layers"])
    floors = {name.strip("()") for name in layers.replace("|", " ").replace(":", " ").split()}
    forbidden = CONTRACTS["conformance-sees-the-public-face"]["forbidden_modules"]
    hidden = {name.removeprefix("octavo.") for name in forbidden}
    assert hidden == floors - PUBLIC
