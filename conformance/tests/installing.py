"""Installing the packages of the tests as pip would, into a folder, and running Python with it.

A package is built by its own build backend and unpacked; what is found then is found through
its metadata, by entry points, in a process of its own. Knows nothing of what is in a package.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

PACKAGES = Path(__file__).parent / "packages"
TIMEOUT_S = 300
NO_PLUGINS = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
_START = "import json, sys; sys.path[:0] = json.loads(sys.argv.pop(1)); "


def install(packages: Sequence[Path], target: Path, workshop: Path) -> Path:
    """Build each package's wheel in `workshop` and unpack it into `target`; gives `target`."""
    for package in packages:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(workshop)]
        ended = subprocess.run(
            command, cwd=package, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
    for wheel in workshop.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
    return target


def python(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new process in which what `folder` holds is installed.

    Effects: pytest's plugins are found there as a user finds them, whoever turned that off here.
    """
    paths = json.dumps([str(folder), *sys.path])
    command = [sys.executable, "-c", _START + code, paths, *arguments]
    environment = {name: value for name, value in os.environ.items() if name != NO_PLUGINS}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        env=environment,
    )


def console(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a console script, given by its module, as `python` runs code."""
    return python(folder, f"from {module} import main; sys.exit(main(sys.argv[1:]))", *arguments)
