"""The console script: what it prints, and how it ends.

Packages are made on disk as installers make them, and announced in a process of its own, so
that discovery, the isolation of crashes and the pytest plugin are tested as they are used.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from octavo_conformance import cli
from octavo_conformance.isolated import read_line
from octavo_platforms.version import CONTRACT

ORACLE = "octavo_conformance.oracle.platform:platform"
PIN = f"octavo-platforms=={CONTRACT[0]}.{CONTRACT[1]}.*"
CRASHING = """
import os
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms.hooks import hookimpl


class Ends:
    @hookimpl
    def bind_linear(self, spec):
        os.abort()


platform = OraclePlatform("acme", overrides=[Ends()])
"""


def announce(folder: Path, name: str, origin: str, requires: str = PIN) -> Path:
    info = folder / f"{name}_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    metadata = (
        f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1.0\nRequires-Dist: {requires}\n"
    )
    (info / "METADATA").write_text(metadata)
    (info / "entry_points.txt").write_text(f"[octavo.platforms]\n{name} = {origin}\n")
    return folder


def octavo_conformance(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    start = (
        "import json, sys; sys.path[:0] = json.loads(sys.argv.pop(1)); "
        "from octavo_conformance.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", start, json.dumps([str(folder), *sys.path]), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_sound_platform_ends_with_status_0_and_a_table(tmp_path: Path) -> None:
    announce(tmp_path, "oracle2", ORACLE)
    ended = octavo_conformance(tmp_path, "run", "--device", "oracle2", "--level", "1", "--fast")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "memory" in ended.stdout
    assert "31 PASS" in ended.stdout


def test_name_that_differs_from_the_entry_point_is_found_and_ends_with_status_1(
    tmp_path: Path,
) -> None:
    announce(tmp_path, "oracle2", ORACLE)
    written = tmp_path / "report.json"
    ended = octavo_conformance(
        tmp_path, "run", "--device", "oracle2", "--level", "0", "--json", str(written)
    )
    assert ended.returncode == 1
    assert "found as 'oracle2', it says 'oracle'" in ended.stdout
    assert json.loads(written.read_text())["outcome"] == "FAIL"


def test_platform_of_another_contract_fails_level_0_in_words(tmp_path: Path) -> None:
    announce(tmp_path, "oracle2", ORACLE, requires="octavo-platforms==7.3.*")
    ended = octavo_conformance(tmp_path, "run", "--device", "oracle2")
    assert ended.returncode == 1
    assert "made for contract 7.3" in ended.stdout
    assert "only level 0 can be tried" in ended.stderr
    assert "2/linear" not in ended.stdout


def test_end_of_the_process_is_a_crash_and_the_next_case_runs(tmp_path: Path) -> None:
    (tmp_path / "acme_plugin.py").write_text(CRASHING)
    announce(tmp_path, "acme", "acme_plugin:platform")
    words = ("-k", "bias", "--isolate", "--fast")
    ended = octavo_conformance(tmp_path, "run", "--device", "acme", *words)
    assert ended.returncode == 1
    assert ended.stdout.count("the process ended: signal 6") == 3
    assert "3 CRASH" in ended.stdout


def test_unknown_platform_ends_with_status_2_and_names_those_installed(tmp_path: Path) -> None:
    announce(tmp_path, "oracle2", ORACLE)
    ended = octavo_conformance(tmp_path, "run", "--device", "acme")
    assert ended.returncode == 2
    assert "oracle2" in ended.stderr


def test_author_needs_one_line_for_pytest(tmp_path: Path) -> None:
    announce(tmp_path, "oracle2", ORACLE)
    test = tmp_path / "test_conformance.py"
    test.write_text("from octavo_conformance.suite import *  # noqa: F403\n")
    start = (
        "import json, sys; sys.path[:0] = json.loads(sys.argv.pop(1)); "
        "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    )
    options = ["-q", "--octavo-device", "oracle2", "--octavo-fast"]
    options += ["-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-k", "memory or named"]
    paths = json.dumps([str(tmp_path), *sys.path])
    command = [sys.executable, "-c", start, paths, *options, str(test)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "passed" in ended.stdout


def test_list_names_cases_without_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--list", "--level", "2", "-k", "rotary [float32]"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "2/rotary/turns_pairs_of_features[float32]",
        "2/rotary_kv_write/turns_keys_and_writes_them[float32]",
    ]


def test_run_without_a_device_says_which_flag_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["run"]) == 2
    assert "--device" in capsys.readouterr().err


def test_lines_that_a_plugin_prints_are_not_results() -> None:
    assert read_line("loading kernels ...") is None
