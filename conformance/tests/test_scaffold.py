"""What `octavo-conformance new` writes: installed and run as it stands, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from octavo_conformance import cli
from octavo_conformance.scaffold import Base
from octavo_platforms.version import CONTRACT

from .installing import console, install, python

pytest.importorskip("hatchling")


def written(folder: Path, name: str, base: str) -> Path:
    target = folder / f"written-{name}"
    assert cli.main(["new", name, "--base", base, "--into", str(target)]) == 0
    return target


@pytest.mark.parametrize("base", ["torch", "none"])
def test_written_package_passes_the_suite_as_it_stands(base: Base, tmp_path: Path) -> None:
    if base == "torch":
        pytest.importorskip("torch")
    package = written(tmp_path, "my_chip", base)
    folder = install([package], tmp_path / "installed", tmp_path / "wheels")
    ended = console(folder, "octavo_conformance.cli", "run", "--device", "my_chip", "--fast")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "my_chip: " in ended.stdout
    tests = [
        str(package / "tests"),
        "-q",
        "-k",
        "names_the_contract or norm",
        "-p",
        "no:cacheprovider",
    ]
    code = "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    ended = python(folder, code, *tests, "--rootdir", str(package))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "passed" in ended.stdout


def test_written_package_names_the_contract_and_not_the_example(tmp_path: Path) -> None:
    package = written(tmp_path, "my_chip", "none")
    texts = [path.read_text() for path in package.rglob("*") if path.is_file()]
    assert len(texts) == 7
    assert not any("acme" in text.lower() for text in texts)
    pin = f"octavo-platforms=={CONTRACT[0]}.{CONTRACT[1]}.*"
    assert pin in (package / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", ["My-Chip", "9chip", "", "a b"])
def test_name_that_no_platform_can_have_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["new", name, "--into", str(tmp_path / "there")]) == 2
    assert "is no name for a platform" in capsys.readouterr().err
    assert not (tmp_path / "there").exists()


def test_folder_that_is_there_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["new", "chip", "--into", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
