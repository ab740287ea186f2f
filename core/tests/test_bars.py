"""Bars: drawn in the unit of what they count, and only for work that takes its time."""

from __future__ import annotations

import pytest

from octavo.bars import bar


def test_a_bar_of_bytes_shows_how_many_of_how_many_and_a_rate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with bar(2_950_000_000, unit="B", what="weights", is_scaled=True, shown=True) as grown:
        grown.update(1_475_000_000)
    drawn = capsys.readouterr().err
    assert "weights:  50%" in drawn
    assert "1.48G/2.95G" in drawn
    assert "B/s]" in drawn


def test_work_that_is_done_before_the_delay_draws_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with bar(4, unit="B", what="weights", shown=True, delay_s=3600.0) as grown:
        grown.update(4)
    assert capsys.readouterr().err == ""
