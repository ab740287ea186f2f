"""Every family against Hugging Face transformers, on tiny random checkpoints that it wrote.

This is the quick part: torch on the CPU in float32, one model of each family and all of Llama's,
which also run on the oracle; and bfloat16 of some. `table` has the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
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
LLAMAS = [row for row in ROWS if row.family == "llama"]
LATER = frozenset({"phimoe: longrope, long", "llama: a KV head for each, shards"})
"""What else is quick to see: positions beyond what was trained, and files that are several."""


def named(rows: Sequence[Row]) -> pytest.MarkDecorator:
    """Run a test for each of some rows."""
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


def test_every_family_has_its_rows_and_every_row_its_family() -> None:
    assert {row.family for row in PLAIN} == {family.name for family in FAMILIES}
    assert {row.family for row in ROWS} == {row.family for row in PLAIN}
    assert len({row.name for row in ROWS}) == len(ROWS)


@named([*PLAIN, *(row for row in ROWS if row.name in LATER)])
def test_logits_and_greedy_tokens_are_those_of_transformers(row: Row, tmp_path: Path) -> None:
    found: Measured = measure(row, discover.load("cpu"), tmp_path)
    assert found.problems == ()


@named(LLAMAS)
def test_the_oracle_gives_the_logits_and_tokens_of_transformers(row: Row, tmp_path: Path) -> None:
    assert measure(row, discover.load("oracle"), tmp_path).problems == ()


@named([*LLAMAS[:2], *(row for row in PLAIN if row.family == "ministral3")])
def test_bfloat16_is_as_near_as_transformers_in_bfloat16(row: Row, tmp_path: Path) -> None:
    assert measure(row, discover.load("cpu"), tmp_path, "bfloat16").problems == ()


def test_a_model_in_several_files_is_one_model(tmp_path: Path) -> None:
    (row,) = (each for each in LLAMAS if each.largest_file != "1GB")
    row.write(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2


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
