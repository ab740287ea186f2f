"""Every family against Hugging Face transformers, on tiny random checkpoints that it wrote.

This is the quick part: one model of each family, float32, torch on the CPU. `table` has the rest.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from octavo.models.registry import FAMILIES
from octavo_platforms import discover

from .families import ROWS
from .measured import Measured, measure
from .row import Row
from .table import ALL_ROWS, kept, page

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
PLAIN = [row for row in ROWS if row.label == "plain"]


@pytest.fixture(params=PLAIN, ids=[row.family for row in PLAIN])
def row(request: pytest.FixtureRequest) -> Row:
    found: Row = request.param
    return found


def test_every_family_has_its_rows_and_every_row_its_family() -> None:
    assert {row.family for row in PLAIN} == {family.name for family in FAMILIES}
    assert {row.family for row in ROWS} == {row.family for row in PLAIN}
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_logits_and_greedy_tokens_are_those_of_transformers(row: Row, tmp_path: Path) -> None:
    found: Measured = measure(row, discover.load("cpu"), tmp_path)
    assert found.problems == ()


def test_a_run_of_a_part_leaves_what_the_page_says_of_the_rest(tmp_path: Path) -> None:
    first, second = (row.name for row in PLAIN[:2])
    cells = {
        (first, "cpu float32"): "1e-06, 384/384",
        (second, "cpu float32"): "2e-06, 384/384",
        (second, "jax float32"): "refuses `layer_norm`",
    }
    path = tmp_path / "models.md"
    assert kept(path) == {}
    path.write_text(page(cells))
    assert kept(path) == {**cells, (first, "jax float32"): ""}


def test_the_page_shows_models_of_the_table_and_none_that_fails() -> None:
    cells = kept(PAGE)
    assert {name for name, _ in cells} <= {row.name for row in ALL_ROWS}
    assert {row.name for row in PLAIN if row.family == "llama"} <= {name for name, _ in cells}
    assert not [key for key, cell in cells.items() if "FAILS" in cell]
