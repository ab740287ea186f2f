"""Building the emulator: what is said where it cannot be built."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from octavo_emulated.build import CannotBuild, built

OPEN = """
from octavo_emulated import platform
from octavo_emulated.device import probe
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.errors import CannotStart
from octavo_platforms.loaded import Platform
print(probe())
try:
    Platform(platform).open_device((0,), DeviceSettings())
except CannotStart as error:
    print(error)
"""


def test_without_a_compiler_the_probe_finds_nothing_and_opening_says_what_is_missing(
    tmp_path: Path,
) -> None:
    environment = {
        **os.environ,
        "PATH": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", OPEN]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found, refused = ended.stdout.splitlines()
    assert "found=False" in found
    assert "no C++ compiler" in found
    assert "install one" in refused


def test_what_the_compiler_says_is_shown(tmp_path: Path) -> None:
    with pytest.raises(CannotBuild, match=r"ATen/ATen\.h"):
        built(tmp_path, "0", cxx11_abi=True, cache=tmp_path)
    assert not list(tmp_path.rglob("*.so"))
