"""The table of `octavo devices`."""

from __future__ import annotations

from octavo.cli.devices import Row, table

CPU = Row("cpu", "octavo-plugin-cpu 0.1.0", 10, "a processor\n[0] its name")
ACME = Row("acme", "acme-octavo 2.0", None, "no driver")
SLOW = Row("oracle", "octavo-conformance 0.1.0", 0, "always there")


def test_every_platform_has_its_line_and_the_default_its_star() -> None:
    lines = table([ACME, CPU, SLOW]).splitlines()
    assert [line[:9] for line in lines[1:]] == [
        "  acme   ",
        "* cpu    ",
        " " * 9,
        "  oracle ",
        "",
        "* runs wh",
    ]
    assert "no driver" in lines[1]
    assert lines[3].index("[0]") == lines[2].index("a processor")


def test_a_platform_without_priority_is_never_the_default() -> None:
    assert "*" not in table([SLOW, ACME])


def test_no_platform_at_all_says_how_to_get_one() -> None:
    assert "pip install" in table([])
