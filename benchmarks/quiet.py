"""Whether a measurement can be believed: what else used the processors while it ran.

Linux only. Knows nothing of what is measured.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

OTHERS_LIMIT = 0.06


@dataclass(frozen=True, slots=True)
class _Books:
    busy_s: float
    own_s: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its figures, and the share of the processors that others took meanwhile."""

    figures: Mapping[str, float]
    others: float


def alternate(
    peers: Mapping[str, Callable[[int], Mapping[str, float]]], *, runs: int, attempts: int
) -> dict[str, list[Run]]:
    """Run peers in turn until each has enough quiet runs, or the attempts are used up.

    A run is quiet when others took at most 6 % of the processors. Gives the quietest runs.
    """
    found: dict[str, list[Run]] = {name: [] for name in peers}
    for attempt in range(attempts):
        for name, measure in peers.items():
            before = _books()
            figures = measure(attempt)
            found[name].append(Run(figures, _others(before, _books())))
            shown = ", ".join(f"{key} {value:.2f}" for key, value in figures.items())
            print(
                f"  {name} run {attempt}: {shown} (others {found[name][-1].others:.1%})", flush=True
            )
        quiet = [sum(run.others <= OTHERS_LIMIT for run in each) for each in found.values()]
        if min(quiet) >= runs:
            break
    return {
        name: sorted(each, key=lambda run: run.others > OTHERS_LIMIT)[:runs]
        for name, each in found.items()
    }


def summary(runs: Sequence[Run], key: str) -> dict[str, float]:
    """Give the median, smallest and largest of a figure."""
    values = [run.figures[key] for run in runs]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def machine() -> dict[str, object]:
    """Describe the processors in words that a reader can compare."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    names = {key.strip(): value.strip() for key, value in lines.items()}
    flags = names.get("flags", "").split()
    told = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return {
        "processor": names.get("model name", "unknown"),
        "cores": os.cpu_count(),
        "instructions": told,
        "python": platform.python_version(),
    }


def write(out: Path | None, what: str, figures: Mapping[str, object]) -> None:
    """Write what was measured, on which machine, as JSON; nothing where no file was asked for."""
    if out is not None:
        document = {"what": what, "machine": machine(), **figures}
        out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _books() -> _Books:
    ticks_s = os.sysconf("SC_CLK_TCK")
    first = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()[1:]
    busy = sum(int(first[index]) for index in (0, 1, 2, 5, 6)) / ticks_s
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    return _Books(busy, own, time.monotonic())


def _others(before: _Books, after: _Books) -> float:
    passed_s = (after.at_s - before.at_s) * (os.cpu_count() or 1)
    taken_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    return max(0.0, taken_s) / passed_s
