"""Reports say what was found, in four formats that their readers accept.

Does not know any platform.
"""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from octavo_conformance import report
from octavo_conformance.verdict import Result, Verdict

RESULTS = [
    Result("0/package/a", 0, "package", Verdict.PASS, "", 0.5),
    Result("2/linear/b[float16]", 2, "linear", Verdict.NOT_CLAIMED, "no float16", 0.0),
    Result("2/linear/c", 2, "linear", Verdict.FALLBACK, "linear by x", 0.25),
    Result("2/linear/d", 2, "linear", Verdict.FAIL, "a | b\n\x00<c>", 0.25),
    Result("2/linear/e", 2, "linear", Verdict.CRASH, "signal 11", 0.0),
]


def test_json_holds_every_result() -> None:
    found = json.loads(report.to_json("acme", RESULTS))
    assert found["device"] == "acme"
    assert found["outcome"] == "FAIL"
    assert [each["verdict"] for each in found["results"]] == [r.verdict for r in RESULTS]


def test_junit_counts_failures_errors_and_skips() -> None:
    suite = ElementTree.fromstring(report.to_junit("acme", RESULTS))
    counted = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counted == {"tests": "5", "failures": "1", "errors": "1", "skipped": "1"}
    assert [len(case) for case in suite] == [0, 1, 1, 1, 1]


def test_markdown_has_a_line_for_each_result_whatever_its_words() -> None:
    lines = report.to_markdown("acme", RESULTS).splitlines()
    rows = [line for line in lines if line.startswith(("| 0 ", "| 2 "))]
    assert len(rows) == len(RESULTS)
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)


def test_badge_is_svg_and_counts_what_was_tested() -> None:
    badge = ElementTree.fromstring(report.to_badge("acme", RESULTS))
    assert badge.get("aria-label") == "octavo: acme 2 of 4"


def test_table_has_a_row_for_each_area() -> None:
    assert [line.split()[:2] for line in report.table(RESULTS).splitlines()[1:]] == [
        ["0", "package"],
        ["2", "linear"],
    ]


@pytest.mark.parametrize(
    ("last", "outcome"),
    [(1, Verdict.PASS), (3, Verdict.PASS), (4, Verdict.FAIL), (5, Verdict.FAIL)],
)
def test_one_bad_result_makes_the_outcome_bad(last: int, outcome: Verdict) -> None:
    assert report.outcome(RESULTS[:last]) is outcome


def test_missing_device_is_no_success() -> None:
    missing = Result("1/memory/x", 1, "memory", Verdict.ENV, "no driver", 0.0)
    assert report.outcome([RESULTS[0], missing]) is Verdict.ENV
