"""Reports: results as JSON, JUnit, Markdown and a badge; and the table of the console.

Knows nothing of how the results came about.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from xml.etree import ElementTree

from octavo_conformance.verdict import Result, Verdict
from octavo_platforms.version import CONTRACT

SKIPPED = (Verdict.NOT_CLAIMED, Verdict.ENV)
COLOURS: Mapping[Verdict, str] = MappingProxyType(
    {Verdict.PASS: "#2e7d32", Verdict.ENV: "#9e9e9e", Verdict.FAIL: "#c62828"}
)


def summary(results: Sequence[Result]) -> str:
    """Count the verdicts in one line."""
    counts = Counter(result.verdict for result in results)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])


def outcome(results: Sequence[Result]) -> Verdict:
    """Give the one verdict that stands for all: FAIL, ENV where a device was missing, or PASS."""
    found = {result.verdict for result in results}
    if any(verdict.is_bad for verdict in found):
        return Verdict.FAIL
    return Verdict.ENV if Verdict.ENV in found else Verdict.PASS


def table(results: Sequence[Result]) -> str:
    """Lay the verdicts out by level and area, a column a verdict."""
    columns = [verdict for verdict in Verdict if any(r.verdict is verdict for r in results)]
    rows = [["level", "area", *columns, "seconds"]]
    for level, area in dict.fromkeys((result.level, result.area) for result in results):
        own = [result for result in results if (result.level, result.area) == (level, area)]
        counts = Counter(result.verdict for result in own)
        shown = [str(counts[verdict] or "") for verdict in columns]
        rows.append([str(level), area, *shown, f"{sum(r.seconds for r in own):.1f}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def to_json(device: str, results: Sequence[Result]) -> str:
    """Write everything, for machines."""
    contract = ".".join(map(str, CONTRACT))
    found = {
        "device": device,
        "contract": contract,
        "outcome": outcome(results),
        "results": [asdict(result) for result in results],
    }
    return json.dumps(found, indent=1) + "\n"


def to_junit(device: str, results: Sequence[Result]) -> str:
    """Write what continuous integration reads. Source: the JUnit XML schema of Ant."""
    counts = Counter(result.verdict for result in results)
    suite = ElementTree.Element(
        "testsuite",
        name=f"octavo-conformance.{device}",
        tests=str(len(results)),
        failures=str(counts[Verdict.FAIL]),
        errors=str(counts[Verdict.CRASH]),
        skipped=str(sum(counts[verdict] for verdict in SKIPPED)),
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        place = f"level{result.level}.{result.area}"
        case = ElementTree.SubElement(
            suite, "testcase", classname=place, name=result.case, time=f"{result.seconds:.3f}"
        )
        if result.verdict is Verdict.FALLBACK:
            ElementTree.SubElement(case, "system-out").text = f"FALLBACK: {result.detail}"
        kind = {Verdict.FAIL: "failure", Verdict.CRASH: "error"}.get(result.verdict)
        kind = "skipped" if result.verdict in SKIPPED else kind
        if kind is not None:
            words = f"{result.verdict}: {_printable(result.detail)}"
            ElementTree.SubElement(case, kind, message=words)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def to_markdown(device: str, results: Sequence[Result]) -> str:
    """Write what a person reads in a pull request."""
    lines = [f"# Conformance of `{device}`", "", f"{summary(results)}.", ""]
    lines += ["| level | area | case | verdict | why |", "|---|---|---|---|---|"]
    for result in results:
        why = _printable(result.detail).replace("|", "\\|")
        name = result.case.split("/", 2)[-1]
        lines.append(f"| {result.level} | {result.area} | {name} | {result.verdict} | {why} |")
    return "\n".join(lines) + "\n"


def to_badge(device: str, results: Sequence[Result]) -> str:
    """Draw a small badge: the device, and how many promises it keeps."""
    kept = sum(result.verdict in (Verdict.PASS, Verdict.FALLBACK) for result in results)
    tested = sum(result.verdict not in SKIPPED for result in results)
    left, right = f"octavo: {device}", f"{kept} of {tested}"
    widths = [14 + 7 * len(text) for text in (left, right)]
    colour = COLOURS[outcome(results)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{sum(widths)}" height="20" role="img" '
        f'aria-label="{left} {right}"><rect width="{widths[0]}" height="20" fill="#555"/>'
        f'<rect x="{widths[0]}" width="{widths[1]}" height="20" fill="{colour}"/>'
        '<g fill="#fff" font-family="Verdana,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{widths[0] / 2:g}" y="14">{left}</text>'
        f'<text x="{widths[0] + widths[1] / 2:g}" y="14">{right}</text></g></svg>\n'
    )


def _printable(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
