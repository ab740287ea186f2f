"""The host: which processor, how many cores, which instructions that matter here, how much memory.

Read from the system's own files where it has them; nothing heavy is imported.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

from octavo_platforms.capabilities import DeviceInfo, MemoryStats, Probe

PRIORITY = 10
INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX512-BF16",
    "avx512_fp16": "AVX512-FP16",
    "amx_bf16": "AMX-BF16",
    "asimd": "NEON",
    "bf16": "BF16",
    "sve": "SVE",
}
_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def probe() -> Probe:
    """Find the CPU, which is always there."""
    known = sorted(found_instructions(), key=list(INSTRUCTIONS.values()).index)
    words = f"{model_name()}, {num_cores()} cores, {', '.join(known) or 'no known extension'}"
    return Probe(True, words, PRIORITY)


def discover() -> tuple[DeviceInfo, ...]:
    """List the host as one device."""
    return (DeviceInfo(0, model_name(), stats(0).total_bytes),)


def stats(index: int) -> MemoryStats:
    """Tell the host's memory, or the part of it that this process's group may have."""
    fields = _fields(_MEMINFO)
    page = os.sysconf("SC_PAGE_SIZE")
    total = _kilobytes(fields.get("MemTotal")) or page * os.sysconf("SC_PHYS_PAGES")
    free = _kilobytes(fields.get("MemAvailable")) or page * os.sysconf("SC_AVPHYS_PAGES")
    limit, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if limit is not None and used is not None and limit < total:
        total, free = limit, min(free, limit - used)
    return MemoryStats(total, max(0, min(free, total)))


def model_name() -> str:
    """Name the processor."""
    return _fields(_CPUINFO).get("model name") or platform.processor() or platform.machine()


def num_cores() -> int:
    """Count the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def found_instructions() -> frozenset[str]:
    """Name the instruction sets that are here."""
    fields = _fields(_CPUINFO)
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    return frozenset(name for flag, name in INSTRUCTIONS.items() if flag in flags)


def _fields(path: Path) -> dict[str, str]:
    """Read `name : value` lines; of a name that comes often, the first."""
    found: dict[str, str] = {}
    try:
        text = path.read_text()
    except OSError:
        return found
    for line in text.splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return found


def _kilobytes(text: str | None) -> int | None:
    return None if not text else int(text.split()[0]) * 1024


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
