"""The page about quantised checkpoints is what its fixtures and figures say."""

from __future__ import annotations

from pathlib import Path

from .page import page

PAGE = Path(__file__).parents[3] / "docs" / "quantised.md"


def test_the_page_is_made_of_the_fixtures_and_figures_that_are_here() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run ./dev written --page"
