"""`octavo devices`: every installed platform, whether it finds its device, and why it says so.

Asking imports each platform, so this is slower than a start, which imports the chosen one only.
Does not know what any platform can do.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SUMMARY = "List the devices that can be used, and why the others cannot"
EXAMPLES = "example:\n  octavo devices"


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one platform. `priority` is None where it cannot be used."""

    name: str
    distribution: str
    priority: int | None
    words: str


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags: it has none."""


def run(args: argparse.Namespace) -> int:
    """Print the table; the status is 1 where no platform could be used.

    Effects: imports every installed platform, and lets each look for its device.
    """
    rows = list(ask_all())
    print(table(rows))
    return 0 if any(row.priority is not None for row in rows) else 1


def ask_all() -> Iterable[Row]:
    """Ask every installed platform."""
    from octavo_platforms import discover
    from octavo_platforms.errors import PlatformError

    for candidate in discover.installed():
        owner = f"{candidate.distribution} {candidate.version}"
        if candidate.refusal is not None:
            yield Row(candidate.name, owner, None, candidate.refusal)
            continue
        try:
            platform = discover.load(candidate.name)
        except PlatformError as error:
            yield Row(candidate.name, owner, None, str(error))
            continue
        probe = platform.probe()
        words = probe.words
        if probe.found:
            words += "".join(
                f"\n[{each.index}] {each.name}" for each in platform.discover_devices()
            )
        yield Row(candidate.name, owner, probe.priority if probe.found else None, words)


def table(rows: Sequence[Row]) -> str:
    """Write the platforms for people, the one chosen without `--device` marked by a star."""
    if not rows:
        return (
            "No platform is installed. Platforms come as packages, for example:\n"
            "  pip install octavo-plugin-cpu"
        )
    usable = [row for row in rows if row.priority]
    default = max(usable, key=lambda row: row.priority or 0) if usable else None
    cells = [
        (
            f"{'*' if row is default else ' '} {row.name}",
            "no" if row.priority is None else "yes",
            row.distribution,
            row.words,
        )
        for row in rows
    ]
    head = ("  DEVICE", "FOUND", "FROM", "WHY")
    widths = [max(len(line[column]) for line in (head, *cells)) for column in range(3)]
    indent = "\n" + " " * (sum(widths) + 3 * 2)
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False))
        + "  "
        + line[3].replace("\n", indent)
        for line in (head, *cells)
    ]
    last = (
        "* runs where --device is not given"
        if default
        else "None of these is chosen unasked; name one with --device."
    )
    return "\n".join([*lines, "", last])
