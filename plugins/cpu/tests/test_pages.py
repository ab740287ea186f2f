"""Large pages: asked for before torch makes its first array, which is when it looks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
# In a process of its own: in this one torch has made arrays. "hg" says that they were asked for.
PROGRAM = """
import re, sys
from pathlib import Path
from octavo_cpu import platform
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.loaded import Platform

Platform(platform).open_device((0,), DeviceSettings())
import torch

array = torch.ones(16 << 20)
areas = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.M)
for area in filter(None, areas):
    start, stop = (int(each, 16) for each in area.split(" ")[0].split("-"))
    if start <= array.data_ptr() < stop:
        sys.exit("hg" not in area.split("VmFlags:")[1].split())
sys.exit("no area of memory holds the array")
"""


@pytest.mark.skipif(
    not LARGE_PAGES.exists() or "[never]" in LARGE_PAGES.read_text(),
    reason="this system has no large pages to ask for",
)
def test_large_pages_are_asked_for() -> None:
    assert subprocess.run([sys.executable, "-c", PROGRAM], check=False).returncode == 0
