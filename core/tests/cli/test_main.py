"""The command line from outside: help, mistakes, and what they end with."""

from __future__ import annotations

import subprocess
import sys

import pytest

from octavo.cli.main import main


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "chat", "plan", "devices"])
def test_every_command_has_help_with_an_example(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"  octavo {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "meant"),
    [("--prot", "--port"), ("--max-model-length=5", "--max-model-len"), ("--devcie", "--device")],
)
def test_an_unknown_flag_names_the_nearest(
    capsys: pytest.CaptureFixture[str], given: str, meant: str
) -> None:
    assert f"Did you mean '{meant}'?" in refused(capsys, "serve", given, "5")


def test_flags_are_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'--ho' is not known" in refused(capsys, "serve", "--ho", "x")


def test_a_size_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "not a size" in refused(capsys, "serve", "--kv-cache-memory-bytes", "much")


def test_a_mistake_of_the_operator_is_one_message_and_status_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", "/no/such/model"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("octavo: error: ")
    assert "/no/such/model" in shown
    assert "Traceback" not in shown


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "octavo", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "examples:" in done.stdout
