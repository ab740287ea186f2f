"""The host's memory, for runtimes that compute in it.

Knows nothing of JAX.
"""

from __future__ import annotations

import os
from pathlib import Path

from octavo_platforms.capabilities import MemoryStats

_MEMINFO = Path("/proc/meminfo")


def memory_of_host() -> MemoryStats:
    """Tell the machine's memory, and how much a program could have without swapping."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = page * os.sysconf("SC_PHYS_PAGES")
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:  # no Linux: pages that are free now
        return MemoryStats(total, page * os.sysconf("SC_AVPHYS_PAGES"))
    fields = dict(line.split(":", 1) for line in lines)
    return MemoryStats(total, int(fields["MemAvailable"].split()[0]) * 1024)
