"""Isolation: cases in a process of their own, so that even its sudden end is a verdict.

A child runs the cases and writes one line of JSON before and after each. When it dies, the
case that it had begun is CRASH, and another child goes on behind it.

Knows nothing of what cases prove.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from octavo_conformance.case import Case
from octavo_conformance.catalogue import CASES
from octavo_conformance.running import run
from octavo_conformance.subject import Subject, find
from octavo_conformance.verdict import Result, Verdict

_CHILD = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from octavo_conformance.isolated import child
child(sys.argv[2], json.loads(sys.argv[3]), is_fast=sys.argv[4] == "True")
"""


def run_isolated(subject: Subject, cases: Sequence[Case], *, is_fast: bool) -> Iterator[Result]:
    """Run cases of an installed platform in child processes."""
    device = subject.name if subject.mode is None else f"{subject.name}:{subject.mode}"
    left = list(cases)
    while left:
        names = json.dumps([case.id for case in left])
        arguments = [json.dumps(sys.path), device, names, str(is_fast)]
        with subprocess.Popen(
            [sys.executable, "-c", _CHILD, *arguments], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                result = read_line(line)
                if result is not None:
                    left = left[1:]
                    yield result
        if left:
            yield _crashed(left[0], process.returncode)
            left = left[1:]


def child(device: str, names: Sequence[str], *, is_fast: bool) -> None:
    """Run the named cases, and write each result as a line."""
    case_of = {case.id: case for case in CASES}
    for result in run(find(device), [case_of[name] for name in names], is_fast=is_fast):
        print(f"{_MARK}{json.dumps(asdict(result))}", flush=True)


_MARK = "octavo-conformance-result "


def read_line(line: str) -> Result | None:
    """Read what a child wrote; None for a line that is not ours."""
    mark, _, found = line.partition(_MARK)
    if mark or not found:
        return None
    fields = json.loads(found)
    return Result(**{**fields, "verdict": Verdict(fields["verdict"])})


def _crashed(case: Case, code: int) -> Result:
    how = f"signal {-code}" if code < 0 else f"exit status {code}"
    return Result(case.id, case.level, case.area, Verdict.CRASH, f"the process ended: {how}", 0.0)
